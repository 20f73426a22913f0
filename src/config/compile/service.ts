import { canonicalItem, compareText } from "../canonical.ts";
import { formatAddress } from "../schema/address.ts";
import type { ServiceResource } from "../schema/index.ts";
import type { ServiceSpec } from "../schema/service.ts";
import type { EndpointConfig, EndpointSetConfig, ServiceConfig, UpstreamTlsConfig } from "../snapshot.ts";
import { type CompileContext, fullName } from "./context.ts";
import { readCertificates, readPair } from "./pem.ts";

/** A service, and its endpoints apart. */
export interface CompiledService {
  readonly service: ServiceConfig;
  readonly endpoints: EndpointSetConfig;
}

/** Services compiled before that depend on nothing but their resource. */
const compiled = new WeakMap<ServiceResource, CompiledService>();

/** Reads files, whose content may be another next time, and looks whether certificates are still valid. */
export const dependsOnFiles = (service: ServiceResource): boolean => service.spec.tls !== undefined;

/** One service; the same objects as before when it is the same resource. */
export function compileService(context: CompileContext, service: ServiceResource): CompiledService {
  const known = compiled.get(service);
  if (known !== undefined) return known;
  const { value, needs } = context.trackNeeds(() => ({
    service: canonicalItem(compileAnew(context, service)),
    endpoints: canonicalItem({ service: fullName(service), endpoints: compileEndpoints(context, service) }),
  }));
  if (needs !== undefined && !dependsOnFiles(service)) compiled.set(service, value);
  return value;
}

function compileAnew(context: CompileContext, service: ServiceResource): ServiceConfig {
  const { spec } = service;
  const names = new Set<string>();
  for (const [i, { name }] of spec.subsets.entries()) {
    if (names.has(name))
      context.report(service, ["spec", "subsets", i, "name"], "duplicate_name", `Two subsets are named ${name}.`);
    names.add(name);
  }
  const { limits, times, dns } = spec;
  return {
    name: fullName(service),
    balancing: spec.balancing,
    subsets: [...spec.subsets].sort((a, b) => compareText(a.name, b.name)),
    tls: spec.tls === undefined ? undefined : compileTls(context, service, spec.tls),
    limits: {
      connectionsPerEndpoint: limits.connections,
      pendingPerEndpoint: limits.pending,
      idlePerEndpoint: limits.idle,
      connectMs: times.connect,
      idleMs: times.idle,
      responseHeadMs: times.responseHead,
      responseIdleMs: times.responseIdle,
    },
    proxyProtocol: spec.proxyProtocol,
    dns: dns && {
      host: dns.host,
      port: dns.port ?? 0,
      type: dns.type,
      minTtlMs: dns.minTtl,
      maxTtlMs: dns.maxTtl,
      servers: dns.servers.map((each) => (/(^\[.*\]|^[\d.]+)$/.test(each) ? `${each}:53` : each)),
    },
  };
}

function compileTls(context: CompileContext, service: ServiceResource, spec: NonNullable<ServiceSpec["tls"]>): UpstreamTlsConfig {
  const ca = spec.ca && readCertificates(context, service, spec.ca, ["spec", "tls", "ca"]);
  const { certificate, key } = spec;
  const pair =
    certificate !== undefined && key !== undefined
      ? readPair(context, service, { certificate, key }, ["spec", "tls"])
      : undefined;
  return {
    serverName: spec.serverName ?? "",
    caPem: ca?.pem,
    verify: spec.verify,
    certificatePem: pair?.certificatePem,
    keyPem: pair?.keyPem,
    minVersion: spec.minVersion,
  };
}

function compileEndpoints(context: CompileContext, service: ServiceResource): EndpointConfig[] {
  const byAddress = new Map<string, EndpointConfig>();
  for (const [i, endpoint] of (service.spec.endpoints ?? []).entries()) {
    const key = formatAddress(endpoint.address);
    if (byAddress.has(key)) {
      context.report(service, ["spec", "endpoints", i], "duplicate_name", `The endpoint ${key} is there twice.`, "use weight");
    }
    byAddress.set(key, endpoint);
  }
  return [...byAddress].sort(([a], [b]) => compareText(a, b)).map(([, endpoint]) => endpoint);
}
