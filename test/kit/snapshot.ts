import type {
  EndpointSetConfig,
  FilterCapabilities,
  FilterConfig,
  ListenerConfig,
  MatchConfig,
  RouteConfig,
  RuleConfig,
  ServiceConfig,
  Snapshot,
} from "../../src/config/snapshot.ts";
import {
  DEFAULT_DOWNSTREAM_TIMES,
  DEFAULT_FILTER_BUDGET,
  DEFAULT_HTTP_LIMITS,
  DEFAULT_LISTENER_CONNECTIONS,
  DEFAULT_LISTENER_HANDSHAKES,
  DEFAULT_UPSTREAM_LIMITS,
} from "../../src/core/limits.ts";
import { REQUEST_TRAILERS } from "../../src/core/trailer-names.ts";
import { DEFAULT_CAPABILITIES } from "../../src/filters/guest/grants.ts";

/** Compiled configuration by hand, for tests below the compiler: defaults everywhere, tests say what matters. */

let revision = 0;

export function listenerOf(part: Partial<ListenerConfig> = {}): ListenerConfig {
  return {
    name: "default/edge/http",
    gateway: "default/edge",
    address: { kind: "tcp", host: "127.0.0.1", port: 0 },
    protocol: "http",
    hosts: [],
    tls: undefined,
    proxyProtocol: undefined,
    limits: DEFAULT_HTTP_LIMITS,
    times: DEFAULT_DOWNSTREAM_TIMES,
    maxConnections: DEFAULT_LISTENER_CONNECTIONS,
    maxHandshakes: DEFAULT_LISTENER_HANDSHAKES,
    forwarding: {
      trustedHops: 0,
      xForwarded: true,
      forwarded: false,
      via: undefined,
      requestIdHeader: "x-request-id",
      trustRequestId: false,
      read: "x-forwarded",
      trustedHeaders: [],
    },
    compression: undefined,
    paths: { encodedSlash: "reject", doubleSlash: "merge", semicolon: "keep" },
    underscores: "reject",
    allowTrace: false,
    requestTrailers: [...REQUEST_TRAILERS],
    ...part,
  };
}

export const ANY_PATH: MatchConfig = { path: { kind: "prefix", value: "/" }, methods: [], headers: [], query: [] };

export function ruleOf(part: Partial<RuleConfig> & Pick<RuleConfig, "action">): RuleConfig {
  return {
    name: "0",
    matches: [ANY_PATH],
    filters: [],
    authentication: undefined,
    requestHeaders: undefined,
    responseHeaders: undefined,
    timeoutMs: 0,
    maxBodyBytes: undefined,
    ...part,
  };
}

/** Everything to one service. */
export function forwardTo(service: string, part: Partial<RuleConfig> = {}): RuleConfig {
  return ruleOf({
    action: {
      kind: "forward",
      backends: [{ service: `default/${service}`, subset: undefined, weight: 1 }],
      rewrite: undefined,
      upgrades: ["websocket"],
    },
    ...part,
  });
}

export function routeOf(name: string, rules: readonly RuleConfig[], hosts: readonly string[] = ["*"]): RouteConfig {
  return { name: `default/${name}`, gateways: [], hosts, rules };
}

export function serviceOf(name: string, part: Partial<ServiceConfig> = {}): ServiceConfig {
  return {
    name: `default/${name}`,
    balancing: "p2c",
    subsets: [],
    tls: undefined,
    limits: DEFAULT_UPSTREAM_LIMITS,
    proxyProtocol: undefined,
    dns: undefined,
    ...part,
  };
}

export function endpointsOf(service: string, ports: readonly number[]): EndpointSetConfig {
  return {
    service: `default/${service}`,
    endpoints: ports.map((port) => ({ address: { kind: "tcp", host: "127.0.0.1", port }, labels: {}, weight: 1 })),
  };
}

/** Everything in the exchange, and nothing beyond it but random numbers and one subject, which the actor's imports need. */
export const ALL_GRANTED: FilterCapabilities = {
  ...DEFAULT_CAPABILITIES,
  random: true,
  nats: { ...DEFAULT_CAPABILITIES.nats, publish: ["test.actor"] },
  headers: { request: { read: ["**"], write: ["**"] }, response: { read: ["**"], write: ["**"] } },
  attributes: { read: ["**"], write: ["**"] },
};

/** What is not given of `capabilities` is granted as in `ALL_GRANTED`. */
export type FilterPart = Partial<Omit<FilterConfig, "capabilities">> & { readonly capabilities?: Partial<FilterCapabilities> };

export function filterOf(name: string, digest: string, part: FilterPart = {}): FilterConfig {
  return {
    name: `default/${name}`,
    abi: "proxy-wasm",
    digest,
    origin: "test",
    settings: "",
    onFailure: "closed",
    isolated: false,
    budget: DEFAULT_FILTER_BUDGET,
    ...part,
    capabilities: { ...ALL_GRANTED, ...part.capabilities },
  };
}

/** Each call has a newer revision and its own digest. */
export function snapshotOf(part: Partial<Snapshot> = {}): Snapshot {
  revision++;
  return {
    revision,
    digest: `sha256:test-${revision}`,
    group: "gateway",
    mesh: {
      accessLog: {
        enabled: false,
        path: "stdout",
        sample: 1,
        filter: undefined,
        requestHeaders: [],
        responseHeaders: [],
      },
      tracing: { start: true, sample: 1 },
      trustedProxies: [],
      drain: { graceMs: 5_000, tunnelGraceMs: 5_000 },
    },
    listeners: [listenerOf()],
    routes: [],
    services: [],
    endpoints: [],
    filters: [],
    authentications: [],
    ...part,
  };
}
