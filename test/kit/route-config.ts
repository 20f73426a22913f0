import type {
  ActionConfig,
  ListenerConfig,
  MatchConfig,
  PathMatchConfig,
  RouteConfig,
  RuleConfig,
} from "../../src/config/snapshot.ts";
import { HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import { DEFAULT_DOWNSTREAM_TIMES, DEFAULT_HTTP_LIMITS, DEFAULT_LISTENER_CONNECTIONS } from "../../src/core/limits.ts";

/** Small makers of routes, listeners and request heads, with everything that a test does not care about filled in. */
export const makeMatch = (path: PathMatchConfig, rest: Partial<MatchConfig> = {}): MatchConfig => ({
  path,
  methods: [],
  headers: [],
  query: [],
  ...rest,
});

export const FORWARD: ActionConfig = {
  kind: "forward",
  backends: [{ service: "default/echo", subset: undefined, weight: 1 }],
  rewrite: undefined,
  upgrades: [],
};

export const makeRule = (name: string, matches: readonly MatchConfig[], rest: Partial<RuleConfig> = {}): RuleConfig => ({
  name,
  matches,
  action: FORWARD,
  filters: [],
  authentication: undefined,
  requestHeaders: undefined,
  responseHeaders: undefined,
  timeoutMs: 0,
  maxBodyBytes: undefined,
  ...rest,
});

/** A route in which each match is a rule of its own, named `0`, `1`, … */
export const makeRoute = (
  name: string,
  hosts: readonly string[],
  matches: readonly MatchConfig[],
  rest: Partial<RouteConfig> = {},
): RouteConfig => ({
  name,
  gateways: [],
  hosts,
  rules: matches.map((match, i) => makeRule(String(i), [match])),
  ...rest,
});

export const makeListener = (rest: Partial<ListenerConfig> = {}): ListenerConfig => ({
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
  forwarding: {
    trustedHops: 0,
    xForwarded: true,
    forwarded: false,
    via: undefined,
    requestIdHeader: "x-request-id",
    trustRequestId: false,
  },
  compression: undefined,
  paths: { encodedSlash: "reject", doubleSlash: "merge", semicolon: "keep" },
  underscores: "reject",
  ...rest,
});

export const makeHead = (authority: string, path: string, rest: Partial<RequestHead> = {}): RequestHead => ({
  method: "GET",
  scheme: "http",
  authority,
  path,
  query: undefined,
  version: 11,
  upgrade: undefined,
  headers: new HeaderBlock(),
  ...rest,
});
