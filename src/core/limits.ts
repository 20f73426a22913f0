/**
 * Every bound of the product, with its default and the unit in its name. A listener, a service or a filter may set its own
 * value in configuration; nothing is unbounded. What exceeding one answers stands beside it.
 */

import { DEFAULT_HTTP_LIMITS } from "./limits-http.ts";

export { CONTROL_LIMITS, TRIAL_LIMITS } from "./limits-control.ts";
export { EXTISM_LIMITS } from "./limits-extism.ts";
export { ISOLATION_LIMITS, PREPARE_LIMITS, QUEUE_LIMITS, SET_ATTRIBUTE_LIMITS } from "./limits-guests.ts";
export {
  ARRIVAL_LIMITS,
  CODEC_LIMITS,
  DEFAULT_DOWNSTREAM_TIMES,
  DEFAULT_HTTP_LIMITS,
  type DownstreamTimes,
  type HttpLimits,
} from "./limits-http.ts";
export { JWT_LIMITS } from "./limits-jwt.ts";
export { OCI_LIMITS } from "./limits-oci.ts";
export { TRACE_LIMITS } from "./limits-trace.ts";

/** Bounds of a listener. */
export const DEFAULT_LISTENER_CONNECTIONS = 65_536;
/**
 * Client certificates with a whole handshake that a listener remembers on Deno, whose sessions belong to the process: who resumes one is let in
 * only with a certificate among them. The oldest is forgotten; its next handshake must be a whole one.
 */
export const REMEMBERED_CLIENT_CERTIFICATES = 4096;

/** TLS handshakes (and PROXY headers) under way on a listener, per worker. Exceeded: closed. */
export const DEFAULT_LISTENER_HANDSHAKES = 4_096;

/** How a process shares what file descriptors it may have (RLIMIT_NOFILE). Exceeded: downstreams are closed, attempts answer 503 `pool_overflow`. */
export const DESCRIPTOR_LIMITS = {
  /** Left for files, the control plane, the admin listener and connects that were given up, … */
  reserved: 128,
  /** … but at most this share of a small limit. */
  reservedShare: 0.25,
  /** Of the rest, for downstreams: each may need one upstream connection. */
  downstreamShare: 0.5,
} as const;

/** Bounds and times towards the endpoints of one service, per worker. */
export interface UpstreamLimits {
  /** Connections to one endpoint. */
  readonly connectionsPerEndpoint: number;
  /** Exchanges that wait for a connection of one endpoint. Exceeded: 503 `pool_overflow`. */
  readonly pendingPerEndpoint: number;
  /** Idle connections kept for one endpoint. */
  readonly idlePerEndpoint: number;
  /** TCP connect and TLS handshake. Exceeded: 504 `connect_timeout`. */
  readonly connectMs: number;
  /** How long an idle connection of an endpoint is trusted that never said `Keep-Alive: timeout=`. */
  readonly idleMs: number;
  /** Between the end of the request and the head of the answer. Exceeded: 504 `upstream_timeout`. */
  readonly responseHeadMs: number;
  /** Between two pieces of an answer's body. Exceeded: the exchange is aborted. */
  readonly responseIdleMs: number;
}

export const DEFAULT_UPSTREAM_LIMITS: UpstreamLimits = {
  connectionsPerEndpoint: 1024,
  pendingPerEndpoint: 1024,
  idlePerEndpoint: 256,
  connectMs: 5_000,
  idleMs: 4_000,
  responseHeadMs: 60_000,
  responseIdleMs: 300_000,
};

/** What one filter may use. Fuel comes with the metering of modules. */
export interface FilterBudget {
  /**
   * Fuel of one callback: about one for an instruction, more for what costs more. It bounds work and not time: code that is
   * warm uses 5 to 20 million a millisecond, code that runs for the first time a tenth of that. Exceeded: the instance is
   * thrown away, its exchanges get `onFailure`.
   */
  readonly callbackFuel: number;
  /** Fuel of all callbacks of one exchange that answer a verdict. Exceeded: `onFailure`. */
  readonly exchangeFuel: number;
  /** Fuel of an instance until it is configured; what is above 2^31 - 1 is given when the guest calls the host, and not to components. Above `CONTROL_LIMITS.startFuel` only where the Mesh says so. Exceeded: it does not start. */
  readonly startFuel: number;
  /** Fuel of all its instances in one process and second, above the budgets of callbacks and exchanges. Exceeded: `onFailure` until the second is over. */
  readonly fuelPerSecond: number;
  /** So many faults within `faultWindowMs` and the filter is not started any more: its `onFailure` applies until it is released or its module or configuration changes. 0: never. */
  readonly faults: number;
  /** The time in which `faults` are counted. */
  readonly faultWindowMs: number;
  /** How deep its calls may nest, in slots of 8 bytes: one takes 16, its parameters and locals, and its most operands. No more than the runtime's stack has room for; core modules of components have the default each. Exceeded: as for `callbackFuel`. */
  readonly depthSlots: number;
  /** Largest linear memory of one instance. Exceeded: `memory.grow` answers -1. */
  readonly memoryBytes: number;
  /** Body bytes held for one exchange while the filter pauses. Exceeded: 413 or 500. */
  readonly bufferBytes: number;
  /** How long one pause may last. Exceeded: the filter's `onFailure`. */
  readonly pauseMs: number;
  /** Host calls in one callback. Exceeded: the call fails with the ABI's own error. */
  readonly hostCallsPerCallback: number;
  /** Host calls in all callbacks of one exchange that answer a verdict. Exceeded: as for `hostCallsPerCallback`. */
  readonly hostCallsPerExchange: number;
  /** Bytes a filter may add to headers and bodies in one exchange. */
  readonly outputBytes: number;
  /** HTTP call-outs under way in one exchange. */
  readonly callouts: number;
  /** Log lines per second; more are dropped and counted. */
  readonly logLinesPerSecond: number;
  /** Keys of shared data. One more: the call fails. */
  readonly sharedDataKeys: number;
  /** Shared data, keys and values together; as much again in all its shared queues. More: the call fails. */
  readonly sharedDataBytes: number;
  /** Metrics a filter may define. */
  readonly metrics: number;
  /** Exchanges with a context in one instance. */
  readonly contextsPerInstance: number;
}

export const DEFAULT_FILTER_BUDGET: FilterBudget = {
  callbackFuel: 1_000_000,
  exchangeFuel: 10_000_000,
  startFuel: 200_000_000,
  fuelPerSecond: 5_000_000_000,
  faults: 10,
  faultWindowMs: 60_000,
  depthSlots: 60_000,
  memoryBytes: 64 * 1024 * 1024,
  bufferBytes: 1024 * 1024,
  pauseMs: 5_000,
  hostCallsPerCallback: 10_000,
  hostCallsPerExchange: 100_000,
  outputBytes: 1024 * 1024,
  callouts: 8,
  logLinesPerSecond: 100,
  sharedDataKeys: 65_536,
  sharedDataBytes: 16 * 1024 * 1024,
  metrics: 256,
  contextsPerInstance: 10_000,
};

/**
 * Fuel of the built-in filters unless configuration says otherwise: their loops are bounded by the sizes of what they read.
 * Editing JSON costs some 160 for each byte.
 */
export const BUILTIN_FILTER_FUEL = {
  callbackFuel: 2_000_000_000,
  exchangeFuel: 20_000_000_000,
  fuelPerSecond: 100_000_000_000,
} as const;

/** The most that configuration may give a filter. Exceeded: the resource is refused (`out_of_range`). */
export const FILTER_BUDGET_MAXIMA: FilterBudget = {
  callbackFuel: 2_000_000_000,
  exchangeFuel: 20_000_000_000,
  startFuel: 50_000_000_000,
  fuelPerSecond: 100_000_000_000,
  faults: 1_000,
  faultWindowMs: 3_600_000,
  depthSlots: 200_000,
  memoryBytes: 1024 * 1024 * 1024,
  bufferBytes: 64 * 1024 * 1024,
  pauseMs: 300_000,
  hostCallsPerCallback: 1_000_000,
  hostCallsPerExchange: 10_000_000,
  outputBytes: 64 * 1024 * 1024,
  callouts: 64,
  logLinesPerSecond: 10_000,
  sharedDataKeys: 1_000_000,
  sharedDataBytes: 256 * 1024 * 1024,
  metrics: 4_096,
  contextsPerInstance: 100_000,
};

/** Limits of a filter's HTTP calls to one service. Each worker counts for itself. */
export interface CalloutLimits {
  /** Calls under way, of all exchanges and ticks together. One more: refused. */
  readonly concurrent: number;
  /** Calls begun within a second. One more: refused. */
  readonly perSecond: number;
  /** Longest time for an answer; a filter that asks for more gets this. Beyond: the call failed. */
  readonly timeoutMs: number;
  /** Body of an answer. Undefined: the filter's `bufferBytes`. Beyond: the call failed. */
  readonly answerBytes?: number;
}

export const DEFAULT_CALLOUT_LIMITS: CalloutLimits = { concurrent: 100, perSecond: 1_000, timeoutMs: 30_000 };

/** The most that configuration may give a filter. Exceeded: the resource is refused (`out_of_range`). */
export const CALLOUT_LIMITS_MAXIMA = {
  concurrent: 10_000,
  perSecond: 100_000,
  timeoutMs: 300_000,
  answerBytes: 64 * 1024 * 1024,
};

/** Messages that a filter publishes over NATS: as they are unless configured, and at most. Each worker counts for itself. */
export const DEFAULT_PUBLISH_LIMITS = {
  /** Messages within a second. One more: refused. */
  perSecond: 100,
  /** One message. Larger: refused. */
  payloadBytes: 64 * 1024,
} as const;
export const PUBLISH_LIMITS_MAXIMA = { perSecond: 10_000, payloadBytes: 256 * 1024 } as const;

/**
 * What one filter may add to heads and trailers of one exchange in each direction, and the head of a response or a call of its own:
 * as much as a peer may send. Exceeded: the call fails with the ABI's own error.
 */
export const FILTER_HEAD_LIMITS = {
  /** Fields of one head. */
  fields: DEFAULT_HTTP_LIMITS.headerCount,
  /** Names and values of one head. */
  bytes: DEFAULT_HTTP_LIMITS.headerSectionBytes,
} as const;

/** Bounds of what is granted to filters. */
export const CAPABILITY_LIMITS = {
  /** Patterns in one list of field or attribute names, subjects of one filter. More: refused when the resource is read. */
  patterns: 256,
  /** A pattern or a subject, characters. Longer: refused when the resource is read. */
  patternChars: 256,
} as const;

/**
 * What the host's work for a guest costs of its fuel, besides the 200 of every call. Measured as CPU time of a thread on a machine
 * where a unit of warm code takes 0.1 to 0.3 ns: none of it takes more than 10.
 */
export const HOST_WORK = {
  /** Bytes for one unit that are moved from one memory into another: 0.03 to 0.16 ns each. As `memory.copy` of a guest. */
  movedBytes: 8,
  /** Bytes for one unit that the host makes room for (shared data, bodies, messages): 0.2 to 1.4 ns each. */
  keptBytes: 4,
  /** For each byte that becomes a character of a text, or the other way: 0.1 to 5 ns each. */
  textFuel: 1,
  /** For each value that is made one by one (a field, an item of a list, a part of a path): 200 to 280 ns each. */
  itemFuel: 100,
  /** So much may be owed before it is taken out of the guest's fuel: a callback uses at most so much more than it has. */
  owedMax: 4_096,
} as const;

/** Bounds of the proxy-wasm host that are not a matter of one filter's budget. */
export const PROXY_WASM_LIMITS = {
  /** Tables of a module. Exceeded: refused when loaded. */
  tables: 16,
  /** Elements of one table. More at the start: refused when loaded; `table.grow` beyond answers -1. */
  tableElements: 1_000_000,
  /** Instances of an `isolated` filter, made one a turn of the loop. Exceeded: exchanges wait for one that is free. */
  isolatedInstances: 64,
  /** Shortest tick period; shorter ones are lengthened. */
  tickMinMs: 10,
  /** A log line; longer ones are cut. */
  logLineBytes: 8 * 1024,
  /** Name of a metric, a shared queue or a foreign function; key of shared data; path of a property. Exceeded: BAD_ARGUMENT, and nothing of it is read. */
  nameBytes: 1024,
  /** Queues of one namespace. Exceeded: INTERNAL_FAILURE. */
  queues: 64,
  /** Items in one queue. Exceeded: INTERNAL_FAILURE. */
  queueItems: 1024,
  /** After a trap: the first new instance comes at once, the second one after this; the wait doubles from one to the next. */
  restartMinMs: 100,
  /** The longest such wait. */
  restartMaxMs: 30_000,
  /** An instance that lived this long without a trap ends the doubling. */
  restartResetMs: 10_000,
  /** What a header that a filter adds costs of `outputBytes` besides name and value. */
  headerOverheadBytes: 32,
} as const;

/**
 * A proxy-wasm filter whose start was costly is not started again after a trap: its new instance gets the state that the first one
 * had when it was configured.
 */
export const KEPT_START_LIMITS = {
  /** A start that used more is kept; only filters that may use more are prepared for it. */
  startFuel: DEFAULT_FILTER_BUDGET.startFuel,
  /** What is kept of one filter's memory, in each worker, without what is zero. More: it starts again. */
  bytes: 256 * 1024 * 1024,
} as const;

/** Bounds of TCP streams that nobody has to configure. */
export const STREAM_LIMITS = {
  /** What may come beyond a filter's `bufferBytes` before a peer that is told to wait does: one read of a socket. Exceeded: `filter_body_too_large`. */
  slackBytes: 1024 * 1024,
  /** After a filter closed a stream: how long its downstream may take what was said to it. Exceeded: cut off. */
  lingerMs: 2_000,
} as const;

/** After a port for TLS answered HTTP in plain text: how long the rest of the request is read and thrown away, so that a reset does not take the answer. */
export const PLAIN_LINGER_MS = 2_000;

/** Bounds of the host of WebAssembly components that are not a matter of one filter's budget. */
export const COMPONENT_LIMITS = {
  /** Definitions of one component, items of one list in it, nested ones included. More: refused when loaded. */
  definitions: 10_000,
  /** Components inside components, types inside types. Deeper: refused when loaded. */
  depth: 32,
  /** Core modules inside one component, and instances of them. More: refused when loaded. */
  coreModules: 64,
  /** Core modules with a linear memory of their own; the budget is shared equally among them. More: refused when loaded. */
  memories: 4,
  /** A name of an import, an export or a label. Longer: refused when loaded. */
  nameBytes: 1024,
  /** A value of a type in memory, without what its lists point to. Larger: refused when loaded. */
  typeBytes: 65_536,
  /** Resource handles that one instance holds at a time. More: a trap. */
  handles: 4_096,
  /** What one call hands from the guest to the host, all strings and lists together. More: a trap. */
  liftedBytes: 16 * 1024 * 1024,
  /** Items of lists and fields of records that one call hands from the guest to the host. More: a trap. */
  liftedItems: 65_536,
} as const;

/** Bounds of a module that is metered: what compilers take more than linear time for, or hosts memory. Exceeded: refused. */
export const METER_LIMITS = {
  /** Sections of one module. */
  sections: 10_000,
  /** Types of functions, and tags. */
  types: 50_000,
  /** Parameters, or results, of one function. */
  params: 1_000,
  /** Imports of one module. */
  imports: 10_000,
  /** Functions of its own. */
  functions: 200_000,
  /** Globals of its own. */
  globals: 100_000,
  /** Mutable globals of a module whose start can be kept. More: it starts again after a trap. */
  keptGlobals: 64,
  /** Exports of one module. */
  exports: 200_000,
  /** Tables, imported ones included. */
  tables: 16,
  /** Segments of elements. */
  elementSegments: 10_000,
  /** Elements in all segments. */
  elements: 2_000_000,
  /** Segments of data. */
  dataSegments: 100_000,
  /** One function's body. */
  functionBytes: 4 * 1024 * 1024,
  /** Parameters and locals of one function. */
  locals: 20_000,
  /** Locals of all functions together: an engine keeps some 60 bytes of each while it compiles. */
  localsInAll: 10_000_000,
  /** Blocks in blocks. */
  nesting: 4_000,
  /** Operands of all blocks, branches and calls with more than `fewOperands`: a compiler takes some 30 ns for each, whatever the code's size. */
  wideOperands: 4_000_000,
  /** What a block, a branch or a call may take and leave without being counted. */
  fewOperands: 16,
  /** Locals and operands that are there at each block and branch (and a quarter for each block around), of all together, besides `heldPerByte`: V8 takes some 50 to 130 ns for each when a function runs first. */
  heldValues: 4_000_000,
  /** The same for each byte of the module. CPython has 0.75 in all, what Go compiles 0.3. */
  heldPerByte: 1,
  /** Targets of one `br_table`. */
  branchTargets: 32_768,
  /** What all instructions of one function cost together: keeps the counter from running over. */
  functionFuel: 2 ** 28,
  /** The most that the bound on a table's elements can be set to. */
  tableElements: 10_000_000,
  /** Largest fuel and depth that can be set: the counters are i32. */
  counter: 2 ** 31 - 1,
} as const;

/** Bounds of configuration. */
export const CONFIG_LIMITS = {
  /** Signatures on one module: each that is trusted is verified, which takes 0.2 ms. */
  signatures: 16,
  /** One apply, as text. */
  documentBytes: 32 * 1024 * 1024,
  /** Indicators (line ends, `, : - ? [ ] { } & *` and quotes) in one text that is not JSON: each costs the YAML reader about 3 us and 500 bytes. */
  yamlMarks: 1_500_000,
  /** Resources in one apply. */
  resources: 100_000,
  /** Issues reported at once. One more: those of the same resource are counted, resources behind it are not read. */
  issues: 1_000,
  /** Secrets of filter settings with fewer characters are not looked for in what the filter says: every other word would be one. */
  secretChars: 4,
  /** Aliases expanded in one YAML document (bombs). */
  yamlAliases: 100,
  /** Nesting of values: in resources, and in whatever else strangers write as JSON (metadata of modules, key sets, tokens, answers of plug-ins). Deeper: it counts as no JSON. */
  depth: 64,
  /** Name of a resource or a host. */
  nameChars: 253,
  /** Name of a namespace or of a part of a resource (listener, rule, subset), value of a label. */
  partNameChars: 63,
  /** Items of one list: hosts, rules, matches, headers, subsets, listeners. */
  listItems: 1_000,
  /** Endpoints of one service. */
  endpoints: 10_000,
  /** Filters of one rule. */
  filtersPerRule: 32,
  /** A path, a header value, a URL. */
  valueBytes: 8 * 1024,
  /** Body of a direct response, a file of certificates or keys, settings of a filter. */
  textBytes: 1024 * 1024,
  /** Longest duration: 30 days. */
  durationMs: 30 * 24 * 3_600_000,
  /** Routes, services or endpoint sets in one section of a snapshot, on average. */
  shardItems: 128,
  /** Sections that travel inside the manifest itself, as it is written: JSON in JSON. What does not fit is fetched. */
  inlineBytes: 64 * 1024,
  /** The first line of a NATS server: what it says of itself, with the addresses of its cluster. */
  natsGreetingBytes: 256 * 1024,
  /** A regex written by a user. */
  regexBytes: 1024,
  /** Instructions of a regex once repetitions are written out: `a{3}` has three. Exceeded: `bad_regex`. */
  regexInstructions: 4_096,
  /** Characters and classes of a regex once repetitions are written out, before alternatives become one. Exceeded: `bad_regex`, without asking the engine. */
  regexAtoms: 65_536,
  /** Steps of making the table of a regex: instructions alive in each of its states, once for each class of characters. Some 0.1 to 1 us each, by how warm the code is. Exceeded: `bad_regex`. */
  regexSteps: 250_000,
  /** The same for all different regexes of one configuration (about a second); those that nobody has seen yet of one text that is read. Exceeded: `bad_regex`. */
  regexStepsTotal: 2_000_000,
  /** Regexes whose steps are remembered from one apply to the next. */
  regexesRemembered: 16_384,
  /** Applies kept in the history. */
  history: 64,
  /** A WASM module. */
  moduleBytes: 64 * 1024 * 1024,
} as const;

/** Bounds of finding a request's route. */
export const ROUTING_LIMITS = {
  /** Bytes that the regexes of routes look at for one request, in its path, headers and query, each text with 16 more: about 2 ms (3.3 ns a byte on Bun, 6.3 on Deno). Exceeded: nothing matches, 404. */
  patternBytes: 512 * 1024,
} as const;

/** Bounds of a PROXY protocol header. Exceeded: `bad_proxy_header`, the connection is closed. */
export const PROXY_HEADER_LIMITS = {
  /** Version 1: the line with its CRLF; the longest that the specification allows. */
  v1Bytes: 107,
  /** Version 2: what follows the 16 fixed bytes, addresses and TLVs together (the length field could say 65,535). */
  v2PayloadBytes: 4096,
} as const;

/** Bounds of name resolution. */
export const DNS_LIMITS = {
  /** Records read of one answer; more are not looked at. */
  answerRecords: 1_000,
  /** Endpoints that one name may resolve to. */
  endpoints: 256,
  /** CNAMEs followed within one answer. */
  cnameChain: 8,
  /** Compression pointers followed in one name. */
  pointers: 32,
  /** Names in SRV answers whose addresses are asked for. */
  srvTargets: 64,
  /** Wait for one server's answer. */
  queryMs: 2_000,
  /** Rounds over all servers. */
  rounds: 2,
  /** Answers without a record, in a row, until they count for a name that had endpoints. */
  emptyAnswers: 3,
  /** Until the next try after a failed resolution; doubles with each that fails. */
  retryMinMs: 1_000,
  /** The longest such wait. */
  retryMaxMs: 30_000,
} as const;

/** Bounds of compressing answers. */
export const COMPRESSION_LIMITS = {
  /** Bytes waiting in one encoder. Exceeded: the source is paused. */
  pendingBytes: 256 * 1024,
} as const;

/** Bounds of what a proxy remembers of what happened to it (`/events`). */
export const EVENT_LIMITS = {
  /** Events, each for one kind and subject in one process; the oldest go first. */
  kept: 256,
  /** The newest of them go with the proxy's status to the control plane. */
  published: 16,
  /** Characters of a subject or a reason; the rest is cut. */
  textChars: 300,
} as const;

export { BUG_LIMITS, FILTER_LOG_LIMITS } from "./limits-filter-logs.ts";

/** What a proxy that stops waits for. */
export const DRAIN_TIMES = {
  /** How long readiness fails before listeners close. */
  readyFailMs: 500,
  /** How long exchanges under way may take to finish. Exceeded: cut off. */
  graceMs: 30_000,
  /** The same for tunnels. */
  tunnelGraceMs: 60_000,
} as const;
