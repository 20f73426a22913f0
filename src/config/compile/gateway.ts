import { sortedSet } from "../canonical.ts";
import type { IssuePath } from "../parse.ts";
import { formatAddress } from "../schema/address.ts";
import type { GatewaySpec, ListenerSpec } from "../schema/gateway.ts";
import type { GatewayResource } from "../schema/index.ts";
import type { ForwardingConfig, ListenerConfig, ListenerTlsConfig } from "../snapshot.ts";
import { type CompileContext, fullName } from "./context.ts";
import { readCertificates, readPair } from "./pem.ts";

/** The listeners of all gateways. */
export function compileGateways(context: CompileContext): ListenerConfig[] {
  const listeners: PlacedListener[] = [];
  for (const gateway of context.ofKind("Gateway")) {
    const names = new Set<string>();
    for (const [i, spec] of gateway.spec.listeners.entries()) {
      const path = ["spec", "listeners", i];
      const config = compileListener(context, gateway, spec, path);
      // What it is called when it has no name depends on the rest.
      if (!context.isWhole(gateway, path)) {
        listeners.push({ config, gateway, path });
        continue;
      }
      if (names.has(config.name)) {
        const name = config.name.slice(config.name.lastIndexOf("/") + 1);
        context.report(gateway, [...path, "name"], "duplicate_name", `Two listeners are named ${name}.`, "give each a name");
      }
      names.add(config.name);
      listeners.push({ config, gateway, path });
    }
  }
  const known = listeners.filter(({ gateway, path }) => context.isWhole(gateway, path));
  for (const [i, later] of known.entries()) {
    const earlier = known.slice(0, i).find((each) => collide(each.config.address, later.config.address));
    if (earlier !== undefined) reportConflict(context, later, earlier);
  }
  return listeners.map((each) => each.config);
}

interface PlacedListener {
  readonly config: ListenerConfig;
  readonly gateway: GatewayResource;
  readonly path: IssuePath;
}

/** At the later one, unless only the other is part of what is applied. */
function reportConflict(context: CompileContext, later: PlacedListener, earlier: PlacedListener): void {
  const isLater = context.isApplied(later.gateway) || !context.isApplied(earlier.gateway);
  const [{ config, gateway, path }, other] = isLater ? [later, earlier] : [earlier, later];
  const whose = `listener ${other.config.name} (${formatAddress(other.config.address)})`;
  const message = `${formatAddress(config.address)} is taken by ${whose}${context.whereStored(other.gateway).replace(/,$/, "")}.`;
  const field = config.address.kind === "unix" ? "unix" : "port";
  context.report(gateway, [...path, field], "listener_conflict", message, "one listener may serve many hosts and certificates");
}

/** The name of a listener within its gateway. */
export const shortNameOf = (spec: ListenerSpec): string => spec.name ?? `${protocolOf(spec)}-${spec.port ?? "unix"}`;

function protocolOf(spec: ListenerSpec): ListenerConfig["protocol"] {
  const { protocol = spec.tls === undefined ? "HTTP" : "HTTPS" } = spec;
  return PROTOCOLS[protocol];
}

const PROTOCOLS = { HTTP: "http", HTTPS: "https", TCP: "tcp", TLS: "tls" } as const;

/** Can both be bound at once? `0.0.0.0` takes a port on every IPv4 address, `::` on every address. */
function collide(a: ListenerConfig["address"], b: ListenerConfig["address"]): boolean {
  if (a.kind === "unix" || b.kind === "unix") return a.kind === b.kind && formatAddress(a) === formatAddress(b);
  if (a.port !== b.port || a.port === 0) return false;
  if (a.host === b.host || a.host === "::" || b.host === "::") return true;
  const bothIp4 = !a.host.includes(":") && !b.host.includes(":");
  return bothIp4 && (a.host === "0.0.0.0" || b.host === "0.0.0.0");
}

function compileListener(context: CompileContext, gateway: GatewayResource, spec: ListenerSpec, path: IssuePath): ListenerConfig {
  const address: ListenerConfig["address"] =
    spec.unix === undefined
      ? { kind: "tcp", host: spec.address ?? "0.0.0.0", port: spec.port ?? 0 }
      : { kind: "unix", path: spec.unix };
  const { limits, times, compression } = spec;
  return {
    name: `${fullName(gateway)}/${shortNameOf(spec)}`,
    gateway: fullName(gateway),
    address,
    protocol: protocolOf(spec),
    hosts: spec.hosts.includes("*") ? [] : sortedSet(spec.hosts),
    tls: spec.tls === undefined ? undefined : compileTls(context, gateway, spec.tls, [...path, "tls"]),
    proxyProtocol: spec.proxyProtocol && {
      trusted: sortedSet(spec.proxyProtocol.trusted),
      required: spec.proxyProtocol.required,
    },
    limits: {
      requestLineBytes: limits.requestLine,
      headerCount: limits.headers,
      headerFieldBytes: limits.headerField,
      headerSectionBytes: limits.headerSection,
      bodyBytes: limits.body,
      trailerSectionBytes: limits.trailerSection,
      chunkExtensionBytes: limits.chunkExtensions,
      pipelinedRequests: limits.pipelined,
      exchangesPerConnection: limits.exchangesPerConnection,
    },
    times: {
      handshakeMs: times.handshake,
      headerMs: times.header,
      bodyIdleMs: times.bodyIdle,
      bodyMinBytesPerSecond: times.bodyMinRate,
      bodyGraceMs: times.bodyGrace,
      keepAliveIdleMs: times.keepAliveIdle,
      writeStallMs: times.writeStall,
      tunnelIdleMs: times.tunnelIdle,
    },
    maxConnections: limits.connections,
    maxHandshakes: limits.handshakes,
    forwarding: compileForwarding(spec.forwarding),
    compression: compression && {
      algorithms: [...new Set(compression.algorithms)],
      minBytes: compression.minSize,
      types: sortedSet(compression.types),
      level: compression.level,
    },
    paths: spec.paths,
    underscores: spec.underscores,
    allowTrace: spec.allowTrace,
    requestTrailers: sortedSet(spec.requestTrailers),
  };
}

function compileForwarding(spec: GatewaySpec["listeners"][number]["forwarding"]): ForwardingConfig {
  const { requestIdHeader, ...rest } = spec;
  return {
    ...rest,
    via: spec.via,
    requestIdHeader: requestIdHeader === false ? undefined : requestIdHeader,
    read: spec.read ?? (spec.forwarded && !spec.xForwarded ? "forwarded" : "x-forwarded"),
    trustedHeaders: sortedSet(spec.trustedHeaders),
  };
}

function compileTls(
  context: CompileContext,
  gateway: GatewayResource,
  spec: NonNullable<ListenerSpec["tls"]>,
  path: IssuePath,
): ListenerTlsConfig {
  const certificates = spec.certificates.flatMap((each, i) => {
    const pair = readPair(context, gateway, each, [...path, "certificates", i]);
    if (pair === undefined) return [];
    const hosts = sortedSet(each.hosts ?? pair.hosts);
    return [{ hosts: hosts.length === 0 ? ["*"] : hosts, certificatePem: pair.certificatePem, keyPem: pair.keyPem }];
  });
  // The first one answers names that no certificate has.
  const [first, ...others] = certificates;
  if (first !== undefined && !certificates.some((each) => each.hosts.includes("*"))) first.hosts = ["*", ...first.hosts];
  const clientCa = spec.clientCa && readCertificates(context, gateway, spec.clientCa, [...path, "clientCa"]);
  return {
    certificates: first === undefined ? [] : [first, ...others],
    clientAuth: spec.clientAuth,
    clientCaPem: clientCa?.pem,
    minVersion: spec.minVersion,
  };
}
