import type { CalloutLimits, DownstreamTimes, FilterBudget, HttpLimits, UpstreamLimits } from "../core/limits.ts";

/**
 * What one proxy needs, compiled from all resources: plain frozen data, JSON all the way, canonical (same resources, same
 * bytes). Everything is resolved: defaults are filled in, references exist, files and environment variables are read,
 * times are milliseconds, names are lower case. A proxy builds a generation from it without zod, yaml or any lookup.
 */
export interface Snapshot {
  /** Position in the log of applies; grows. A proxy refuses an older one. */
  readonly revision: number;
  /** `sha256:` of the sections; an equal digest is a no-op. */
  readonly digest: string;
  /** The proxy group it is for; `gateway` unless configured. */
  readonly group: string;
  readonly mesh: MeshConfig;
  readonly listeners: readonly ListenerConfig[];
  readonly routes: readonly RouteConfig[];
  readonly services: readonly ServiceConfig[];
  /** By service name; travel apart from the services because they change most. */
  readonly endpoints: readonly EndpointSetConfig[];
  readonly filters: readonly FilterConfig[];
  readonly authentications: readonly AuthenticationConfig[];
}

/** `namespace/name`; the namespace is `default` when a resource has none. Shown without `default/` to people. */
export type ResourceName = string;

// ---------------------------------------------------------------- mesh

export interface MeshConfig {
  readonly accessLog: AccessLogConfig;
  readonly tracing: TracingConfig;
  /** CIDRs of proxies in front of us whose forwarding headers are believed. */
  readonly trustedProxies: readonly string[];
  readonly drain: { readonly graceMs: number; readonly tunnelGraceMs: number };
  /** Keys of which one must have signed a filter module (`ed25519:…`). Undefined: modules need no signature. */
  readonly filterKeys?: readonly string[];
}

export interface AccessLogConfig {
  readonly enabled: boolean;
  /** `stdout`, `stderr`, or a file that is appended to and re-opened on SIGHUP; the proxy decides which files it may be. */
  readonly path: string;
  /** 0 to 1; failures (5xx, flags) are always logged. */
  readonly sample: number;
  /** Only exchanges that match; undefined: all. */
  readonly filter:
    | {
        readonly minStatus: number | undefined;
        readonly minDurationMs: number | undefined;
        readonly routes: readonly ResourceName[] | undefined;
      }
    | undefined;
  /** Log what each filter did. Absent: no. */
  readonly filters?: boolean;
  /** Name filters that took longer, and log such exchanges always. Absent: do not. */
  readonly slowFilterMs?: number;
  /** Request headers to log besides the fixed fields; values of credentials are never logged. */
  readonly requestHeaders: readonly string[];
  readonly responseHeaders: readonly string[];
}

export interface TracingConfig {
  /** Start a trace when none came in. */
  readonly start: boolean;
  /** 0 to 1: the sampled flag of traces that we start. */
  readonly sample: number;
  /** Where spans of sampled exchanges go; absent: none are made. */
  readonly export?: TraceExportConfig;
}

export interface TraceExportConfig {
  /** OTLP or Zipkin v2, both as JSON over HTTP. */
  readonly protocol: "otlp" | "zipkin";
  /** `http` or `https`, with its path. */
  readonly url: string;
  /** Who says it (`service.name`). */
  readonly serviceName: string;
  /** For one batch, from looking up the name to the end of the answer. */
  readonly timeoutMs: number;
}

// ---------------------------------------------------------------- listeners

export interface ListenerConfig {
  /** `namespace/gateway/listener`: identity across snapshots. */
  readonly name: string;
  readonly gateway: ResourceName;
  readonly address:
    | { readonly kind: "tcp"; readonly host: string; readonly port: number }
    | { readonly kind: "unix"; readonly path: string };
  /** `tcp` and `tls` carry streams of bytes for routes with `tcp`. */
  readonly protocol: "http" | "https" | "tcp" | "tls";
  /** Hosts served here, lower case, `*.` wildcards; empty: all. */
  readonly hosts: readonly string[];
  readonly tls: ListenerTlsConfig | undefined;
  readonly proxyProtocol: ProxyProtocolInConfig | undefined;
  /** `bodyBytes` without a bound is `Number.MAX_SAFE_INTEGER`: `Infinity` does not survive JSON. */
  readonly limits: HttpLimits;
  readonly times: DownstreamTimes;
  readonly maxConnections: number;
  /** TLS handshakes and PROXY headers under way; one more is refused. */
  readonly maxHandshakes: number;
  readonly forwarding: ForwardingConfig;
  readonly compression: CompressionConfig | undefined;
  readonly paths: PathPolicyConfig;
  /** Header names with `_`: `reject` (400), `drop` or `keep`. */
  readonly underscores: "reject" | "drop" | "keep";
  /** TRACE passes to the upstream; else it is answered 405. */
  readonly allowTrace: boolean;
  /** Fields that may stand in the trailers of a request, lower case; all others are dropped. */
  readonly requestTrailers: readonly string[];
}

export interface ListenerTlsConfig {
  readonly certificates: readonly {
    readonly hosts: readonly string[];
    readonly certificatePem: string;
    readonly keyPem: string;
  }[];
  readonly clientAuth: "none" | "optional" | "required";
  readonly clientCaPem: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

export interface ProxyProtocolInConfig {
  /** CIDRs that may send the header; anybody else's is refused. Never empty. */
  readonly trusted: readonly string[];
  /** A trusted peer without a header is refused. */
  readonly required: boolean;
}

export interface ForwardingConfig {
  /**
   * Trusted proxies in front of us, counted from the right of `X-Forwarded-For`. With `MeshConfig.trustedProxies` they must also be
   * in there, and 0 means any number of them; without, 0 means that nothing incoming is believed.
   */
  readonly trustedHops: number;
  /** `X-Forwarded-For/-Proto/-Host`. */
  readonly xForwarded: boolean;
  /** RFC 7239. */
  readonly forwarded: boolean;
  /** RFC 9110 §7.6.3; undefined: not added. */
  readonly via: string | undefined;
  /** Header that carries the request id; undefined: none. */
  readonly requestIdHeader: string | undefined;
  /** Keep a request id that a trusted hop sent. */
  readonly trustRequestId: boolean;
  /** Which of both kinds trusted hops write; what they pass on of the other one is dropped. */
  readonly read: "x-forwarded" | "forwarded";
  /** Other headers, lower case, that trusted hops set or remove themselves: dropped of everybody else. */
  readonly trustedHeaders: readonly string[];
}

export interface CompressionConfig {
  /** In order of preference. */
  readonly algorithms: readonly ("gzip" | "br" | "zstd")[];
  /** Answers with a smaller known length are left alone. */
  readonly minBytes: number;
  /** Media types (`text/html`, `text/*`). */
  readonly types: readonly string[];
  readonly level: number;
}

/** What a request path may contain once decoded; docs/configuration.md has the table. */
export interface PathPolicyConfig {
  /** `%2f`, `%5c`: `reject`, or `keep` as they are (never decoded). */
  readonly encodedSlash: "reject" | "keep";
  /** `//`: `merge`, `reject` or `keep`. */
  readonly doubleSlash: "merge" | "reject" | "keep";
  /** `;params` in a segment: `keep` or `reject`. */
  readonly semicolon: "keep" | "reject";
}

// ---------------------------------------------------------------- routes

export interface RouteConfig {
  readonly name: ResourceName;
  /** Gateways it belongs to; empty: all. */
  readonly gateways: readonly ResourceName[];
  /** Lower case, `*.example.org` or `*`; never empty. */
  readonly hosts: readonly string[];
  /** Empty when `tcp` is given. */
  readonly rules: readonly RuleConfig[];
  readonly tcp?: TcpConfig;
}

/** What becomes of the streams of one listener; `hosts` of its route are names of SNI. */
export interface TcpConfig {
  /** The last part of the name of a listener that belongs to one of the route's gateways. */
  readonly listener: string;
  readonly backends: readonly BackendConfig[];
  /** Filters in order, by name. */
  readonly filters: readonly ResourceName[];
  /** A stream in which nothing moves; undefined: the listener's `tunnelIdleMs`. */
  readonly idleMs: number | undefined;
}

export interface RuleConfig {
  /** Unique within the route: its name or its index. */
  readonly name: string;
  /** Any of them matches; never empty. */
  readonly matches: readonly MatchConfig[];
  readonly action: ActionConfig;
  /** Filters in order, by name. */
  readonly filters: readonly ResourceName[];
  /** Authentication that runs before the filters; undefined: none. */
  readonly authentication: ResourceName | undefined;
  readonly requestHeaders: HeaderEditConfig | undefined;
  readonly responseHeaders: HeaderEditConfig | undefined;
  /** From the end of the request head to the end of the answer; 0: no bound beyond the service's. Tunnels are exempt. */
  readonly timeoutMs: number;
  readonly maxBodyBytes: number | undefined;
}

export type PathMatchConfig =
  | { readonly kind: "exact"; readonly value: string }
  /** By segments: `/a` matches `/a` and `/a/b`, not `/ab`. */
  | { readonly kind: "prefix"; readonly value: string }
  /** `/users/{id}/files/{rest=**}`: a variable is one segment, `=**` the rest. */
  | { readonly kind: "template"; readonly value: string }
  /** RE2 syntax, anchored at both ends. */
  | { readonly kind: "regex"; readonly value: string };

export type ValueMatchConfig =
  | { readonly name: string; readonly kind: "exact"; readonly value: string }
  | { readonly name: string; readonly kind: "regex"; readonly value: string }
  | { readonly name: string; readonly kind: "present" }
  | { readonly name: string; readonly kind: "absent" };

/** All that is given must match. */
export interface MatchConfig {
  readonly path: PathMatchConfig;
  /** Upper case; empty: any. */
  readonly methods: readonly string[];
  readonly headers: readonly ValueMatchConfig[];
  readonly query: readonly ValueMatchConfig[];
}

export type ActionConfig =
  | {
      readonly kind: "forward";
      readonly backends: readonly BackendConfig[];
      readonly rewrite: RewriteConfig | undefined;
      /** HTTP/1.1 upgrades allowed on this rule (`websocket`); empty: the service gets a plain request. */
      readonly upgrades: readonly string[];
      /** A request without an allowed upgrade gets 426. */
      readonly upgradeRequired?: boolean;
    }
  | {
      readonly kind: "redirect";
      readonly status: 301 | 302 | 303 | 307 | 308;
      readonly scheme: string | undefined;
      readonly host: string | undefined;
      readonly port: number | undefined;
      readonly path: PathRewriteConfig | undefined;
      readonly stripQuery: boolean;
    }
  | {
      readonly kind: "respond";
      readonly status: number;
      readonly headers: readonly (readonly [string, string])[];
      readonly body: string;
    }
  | { readonly kind: "maintenance"; readonly retryAfterSeconds: number | undefined; readonly body: string | undefined };

export interface BackendConfig {
  readonly service: ResourceName;
  readonly subset: string | undefined;
  /** ≥ 0; the share is weight / sum. All 0: 500 `no_backend`. */
  readonly weight: number;
}

export type PathRewriteConfig =
  | { readonly kind: "full"; readonly value: string }
  /** Replaces what a prefix match matched. */
  | { readonly kind: "prefix"; readonly value: string }
  /** With `{name}` of the template match. */
  | { readonly kind: "template"; readonly value: string };

export interface RewriteConfig {
  readonly host: string | undefined;
  readonly path: PathRewriteConfig | undefined;
}

export interface HeaderEditConfig {
  readonly set: readonly (readonly [string, string])[];
  readonly add: readonly (readonly [string, string])[];
  readonly remove: readonly string[];
}

// ---------------------------------------------------------------- services

export interface ServiceConfig {
  readonly name: ResourceName;
  readonly balancing: "p2c" | "round-robin" | "least-request" | "random";
  readonly subsets: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>> }[];
  readonly tls: UpstreamTlsConfig | undefined;
  readonly limits: UpstreamLimits;
  /** PROXY header written to the upstream. */
  readonly proxyProtocol: "v1" | "v2" | undefined;
  /** Resolved by the proxy itself; undefined: static endpoints. */
  readonly dns: DnsConfig | undefined;
}

export interface UpstreamTlsConfig {
  /** SNI and expected name; "" takes the endpoint's host name. */
  readonly serverName: string;
  readonly caPem: string | undefined;
  readonly verify: boolean;
  readonly certificatePem: string | undefined;
  readonly keyPem: string | undefined;
  readonly minVersion: "TLSv1.2" | "TLSv1.3";
}

export interface DnsConfig {
  readonly host: string;
  /** Ignored for SRV, whose records carry it. */
  readonly port: number;
  readonly type: "A" | "AAAA" | "SRV";
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
  /** `host:port` of name servers; empty: the system's. */
  readonly servers: readonly string[];
}

export interface EndpointSetConfig {
  readonly service: ResourceName;
  readonly endpoints: readonly EndpointConfig[];
}

export interface EndpointConfig {
  readonly address:
    | { readonly kind: "tcp"; readonly host: string; readonly port: number }
    | { readonly kind: "unix"; readonly path: string };
  readonly labels: Readonly<Record<string, string>>;
  /** ≥ 1. */
  readonly weight: number;
}

// ---------------------------------------------------------------- filters

/** How a module and its host talk: core modules by proxy-wasm or as plug-ins of Extism, components by the WIT package `selvedge:filter`. */
export type FilterAbi = "proxy-wasm" | "component" | "extism";

export interface FilterConfig {
  readonly name: ResourceName;
  readonly abi: FilterAbi;
  /** `sha256:` + hex of the module; its bytes come from the filter store. */
  readonly digest: string;
  /** Shown to people: `builtin:rate-limit`, a path. */
  readonly origin: string;
  /** JSON text handed to the module as its configuration, byte for byte. */
  readonly settings: string;
  /** What of the settings is secret by the module's own schema: JSON pointers. Absent: nothing. */
  readonly secrets?: readonly string[];
  readonly onFailure: "closed" | "open";
  /** What a pause at a head holds. Absent: the message. */
  readonly pauseHolds?: "head";
  /** Which plug-in of the module. Absent: the one without a name. */
  readonly rootId?: string;
  /** One exchange at a time per instance. */
  readonly isolated: boolean;
  /** Switched off: it does not run, `onFailure` applies. Absent: it is on. */
  readonly disabled?: boolean;
  /** Any text: with another one it is another filter, with new instances and no faults. */
  readonly release?: string;
  readonly budget: FilterBudget;
  readonly capabilities: FilterCapabilities;
}

export type BodyAccess = "none" | "read" | "write";

/** Names that a filter may read and write: exact ones, prefixes that end in `*`, `*` for all ordinary ones, `**` for all. */
export interface NameAccess {
  readonly read: readonly string[];
  readonly write: readonly string[];
}

/** What a filter may do. Reaching beyond the exchange is off unless granted, and so are credentials in it. */
export interface FilterCapabilities {
  /** Services it may call. */
  readonly callouts: readonly ResourceName[];
  /** Limits of services that have their own; the others have `DEFAULT_CALLOUT_LIMITS`. */
  readonly calloutLimits: Readonly<Record<ResourceName, CalloutLimits>>;
  /** Namespace of its shared data; filters with the same one share. Undefined: its own. */
  readonly sharedData: string | undefined;
  /** The exact counters in memory shared by all workers (foreign function `selvedge.rate_limit`). */
  readonly rateLimit: boolean;
  /** Wall clock with full precision. */
  readonly clock: boolean;
  /** Random numbers that nobody can foretell. */
  readonly random: boolean;
  readonly metrics: boolean;
  readonly log: boolean;
  /** Answering in the upstream's place, and closing streams. */
  readonly respond: boolean;
  /** Bodies by direction. */
  readonly bodies: { readonly request: BodyAccess; readonly response: BodyAccess };
  /** Fields of heads and trailers by direction; pseudo headers by their names (`:path`, `:status`). */
  readonly headers: { readonly request: NameAccess; readonly response: NameAccess };
  /** Attributes (properties), their parts joined by dots. */
  readonly attributes: NameAccess;
  /** Subjects that it may publish to over NATS. */
  readonly nats: { readonly publish: readonly string[]; readonly perSecond: number; readonly payloadBytes: number };
}

// ---------------------------------------------------------------- authentication

export interface AuthenticationConfig {
  readonly name: ResourceName;
  readonly jwt: readonly JwtProviderConfig[];
  /** False: a request without a token passes (unauthenticated); a bad token never does. */
  readonly required: boolean;
}

export interface JwtProviderConfig {
  readonly name: string;
  readonly issuer: string;
  /** Any of them must be in `aud`; empty: not checked. */
  readonly audiences: readonly string[];
  /** Never empty, never `none`; each fits the key's type. */
  readonly algorithms: readonly string[];
  readonly keys:
    | { readonly kind: "inline"; readonly jwks: string }
    | {
        readonly kind: "remote";
        readonly url: string;
        readonly caPem: string | undefined;
        readonly cacheMs: number;
        readonly allowPrivate: boolean;
      };
  /** Where the token is: `Authorization: Bearer` when both are empty. */
  readonly fromHeaders: readonly { readonly name: string; readonly prefix: string }[];
  readonly fromQuery: readonly string[];
  /** Pass the token on; false removes it. */
  readonly forward: boolean;
  readonly clockSkewMs: number;
  /** A token without `exp` is refused. */
  readonly requireExpiration: boolean;
  readonly maxTokenBytes: number;
}
