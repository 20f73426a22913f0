import type { FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import type { FaultKind, FilterStats } from "./stats.ts";

/**
 * Seam 7: the filter host. One implementation per ABI (`proxy-wasm/`, `component/`, `extism/`).
 * A filter sees one exchange through `FilterExchange` and answers with a `Verdict`.
 */
export interface FilterHost {
  /**
   * Compiles and instantiates; rejects with an `Error` that says why (bad module, missing export, configuration refused by
   * the module). Done before a snapshot is accepted, so that a bad filter never reaches a generation.
   */
  load(wasm: Bytes, config: FilterConfig): Promise<FilterModule>;
}

/** A loaded module with one configuration: shared by every route that names it, and by generations with the same digest and settings. */
export interface FilterModule {
  readonly config: FilterConfig;
  /** A context for one exchange. A context of a broken module fails every callback. */
  open(exchange: FilterExchange): FilterContext;
  /**
   * Something of ours threw while a filter was called (`FilterContext`, `open`): a bug, which must not end more than an exchange. Counts and
   * logs it, throws away the instance that `context` is in, and answers why: who called applies `onFailure`. `context`: absent when there is
   * none, or it is closed. Never throws.
   */
  onThrown(error: unknown, context?: FilterContext): string;
  /** What is counted about it, with all modules of its name. */
  readonly stats: FilterStats;
  /** For status: instances, contexts, calls, traps, last error. */
  status(): FilterStatus;
  /** Switches it off and on, or lets it out of quarantine, whatever its configuration says. */
  control(action: FilterAction): void;
  /** Whether its ticks are left out: before it serves, the services that they would call are not there. Absent: it has none. */
  holdTicks?(held: boolean): void;
  /** No new contexts; frees the instances once the last context is closed. */
  dispose(): void;
}

/**
 * What can be done to a filter by hand. `disable`: it does not run, its `onFailure` applies; `enable` ends that. `release`: it leaves
 * quarantine with its faults forgotten.
 */
export const FILTER_ACTIONS = ["disable", "enable", "release"] as const;
export type FilterAction = (typeof FILTER_ACTIONS)[number];

/** Whether it runs. `quarantined`: it broke too often; `disabled`: it was switched off. In both its `onFailure` applies. */
export type FilterState = "running" | "quarantined" | "disabled";

/** Who switched a filter off: its `spec.disabled`, or a word to this one proxy. */
export type DisabledBy = "configuration" | "hand";

export interface FilterStatus {
  readonly instances: number;
  readonly contexts: number;
  readonly calls: number;
  readonly traps: number;
  readonly memoryBytes: number;
  readonly lastError: string | undefined;
  /** Fuel used so far: work, about one for an instruction. Absent: not metered. */
  readonly fuel?: number;
  /** It broke too often: it is not run any more, its `onFailure` applies. Absent: never. */
  readonly quarantined?: boolean;
  /** Most fuel that one callback used since it was loaded. Absent: not metered. */
  readonly callbackFuelMost?: number;
  readonly state?: FilterState;
  /** Absent: it is not disabled. */
  readonly disabledBy?: DisabledBy;
  /** Exchanges that got its `onFailure` because its share of CPU was used up. */
  readonly throttled?: number;
}

/** What a filter answered. Tagged; `CONTINUE` and `PAUSE` are shared objects, so the common cases allocate nothing. */
export type Verdict =
  | { readonly kind: "continue" }
  /**
   * The host calls `exchange.resume(index, direction)` later, or the deadline passes. `headAlone`, of a head: the body is shown to the filter
   * meanwhile, and what of it first continues lets the head go too.
   */
  | { readonly kind: "pause"; readonly headAlone?: true }
  | LocalResponse
  /** `fault`: what this counts as. Absent: it was counted already (its instance broke), or is none (it has no instance). */
  | { readonly kind: "fail"; readonly reason: string; readonly fault?: FaultKind }
  /** It is switched off: its `onFailure` applies, though nothing failed. */
  | { readonly kind: "disabled" };

export interface LocalResponse {
  readonly kind: "respond";
  readonly status: number;
  readonly headers: HeaderBlock;
  readonly body: Bytes;
  /** -1: none given. */
  readonly grpcStatus: number;
  /** For log and metrics, never sent. */
  readonly details: string;
}

export const CONTINUE: Verdict = { kind: "continue" };
export const PAUSE: Verdict = { kind: "pause" };
export const PAUSE_HEAD: Verdict = { kind: "pause", headAlone: true };
export const DISABLED: Verdict = { kind: "disabled" };

export type Direction = "request" | "response";

/**
 * One filter's view of one exchange, in the order of the life of a request. A stream of bytes (`FilterExchange.isStream`) comes the
 * same way: its new connection is the head of a request without an end, what the downstream says is the body of the request, what the
 * upstream says is the body of the answer. It has no trailers and no head of an answer, and `respond` closes it in an orderly way. Heads and trailers are edited in place through
 * `exchange`. Body callbacks get what came since the last call; after a pause the chain buffers (within the budget) and the
 * filter reads and replaces the whole buffer through `exchange.body`.
 */
export interface FilterContext {
  onRequestHead(end: boolean): Verdict;
  onRequestData(end: boolean): Verdict;
  onRequestTrailers(): Verdict;
  onResponseHead(end: boolean): Verdict;
  onResponseData(end: boolean): Verdict;
  onResponseTrailers(): Verdict;
  /** Only of a stream, once for each side: the connection with that side is over, because the peer ended it or else we did. */
  onSideClosed?(side: "downstream" | "upstream", byPeer: boolean): void;
  /** The exchange is over; the last look. */
  onLog(): void;
  /** Frees the context; later answers of call-outs do nothing. Idempotent, also after `onLog`. */
  close(): void;
  /** False: the filter exports nothing for that direction's body, so the chain need not call nor buffer. */
  wantsBody(direction: Direction): boolean;
  /** False: it has no callback for trailers, so none of its words can end a pause there. */
  wantsTrailers(direction: Direction): boolean;
  /** What an exchange that waits for an instance waits for. Absent: it has one. */
  readonly waitsFor?: string;
  /** Fuel that its callbacks used for this exchange so far. */
  spentFuel(): number;
  /** Time that they took, ms; 0 unless the exchange is timed. */
  readonly spentMs: number;
}

/** What the proxy offers to a filter; implemented by the chain for the exchange. */
export interface FilterExchange {
  /** Somebody wants to know how long each filter took in this exchange: every callback is timed. */
  readonly isTimed: boolean;
  /** It is a stream of bytes and no HTTP exchange: `request` is empty. */
  readonly isStream: boolean;
  readonly request: RequestHead;
  /** Undefined until the answer's head is there. */
  readonly response: ResponseHead | undefined;
  readonly requestTrailers: HeaderBlock | undefined;
  readonly responseTrailers: HeaderBlock | undefined;
  /** A filter wrote the method, path, query or authority: they must be checked and normalised again before they are sent. */
  markTargetChanged(): void;
  /**
   * The trailers of a message, made when there are none: only while the end of its body passes this filter (then trailers may
   * still be added). Undefined: not now.
   */
  addTrailers(direction: Direction): HeaderBlock | undefined;
  /** The bytes that the current body callback may see and change: the chunk at hand, or everything buffered. */
  body(direction: Direction): BodyBuffer;
  /**
   * Envoy's attributes (`["request", "path"]`, `["source", "address"]`, `["metadata", "filter_metadata", …]`): text,
   * number, boolean, bytes, or a map as pairs; undefined: not found.
   */
  attribute(path: readonly string[]): AttributeValue | undefined;
  /** Sets a dynamic attribute that later filters, log and trace see; `value` is kept. False: it would hold more than it may (`SET_ATTRIBUTE_LIMITS`). */
  setAttribute(path: readonly string[], value: Bytes): boolean;
  /** Does this direction wait for a word of the filter's? Not any more once another answer took the place of the one that it held. */
  isPaused(context: FilterContext, direction: Direction): boolean;
  /** After a pause: goes on behind this filter. Does nothing when the pause is over (epoch). */
  resume(context: FilterContext, direction: Direction): void;
  /** Puts `by` in the place of a context that held the head of the request and saw nothing else: the head comes to it anew. */
  replay(context: FilterContext, by: FilterContext): void;
  /** A local answer from outside a callback (a call-out's answer, a timer). */
  respond(context: FilterContext, response: LocalResponse): void;
  /** The filter broke outside a callback: its `onFailure` applies. `fault`: as in a verdict. */
  fail(context: FilterContext, reason: string, fault?: FaultKind): void;
  /** Starts an HTTP call to a service; 0: refused (unknown, not granted, too many). `done` is called once unless cancelled, never in this call. */
  callout(request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number;
  cancelCallout(id: number): void;
}

export type AttributeValue = string | number | bigint | boolean | Bytes | readonly (readonly [string, string])[];

/** A body as a filter may see and change it. */
export interface BodyBuffer {
  readonly length: number;
  /** A view of `[start, start + length)`, cut to what is there; valid until the next change. */
  read(start: number, length: number): Bytes;
  /** Replaces `[start, start + length)` by `bytes`; false when the budget forbids it. */
  replace(start: number, length: number, bytes: Bytes): boolean;
  /** How many bytes `replace` moves to put `size` others there. */
  moves(start: number, length: number, size: number): number;
}

export interface CalloutRequest {
  readonly service: string;
  /** With `:method`, `:path` and `:authority` (and perhaps `:scheme`) as fields among the others. */
  readonly headers: HeaderBlock;
  readonly body: Bytes;
  readonly trailers: HeaderBlock | undefined;
  readonly timeoutMs: number;
  /** Body of the answer. More: the call failed. */
  readonly answerBytes: number;
}

export interface CalloutAnswer {
  /** With `:status` as its first field. */
  readonly headers: HeaderBlock;
  readonly body: Bytes;
  readonly trailers: HeaderBlock | undefined;
}

/** Counters, gauges and histograms that filters define; implemented by proxy/observe. */
export interface FilterMetrics {
  /** An id, or -1 when the budget is used up. Same kind and name: same id. */
  define(filter: string, kind: "counter" | "gauge" | "histogram", name: string): number;
  record(id: number, value: number): void;
  increment(id: number, by: number): void;
  read(id: number): number;
  /** Where everything about a filter of that name is counted. Called once for each module, which says with `users` that it counts there. */
  statsOf(filter: string): FilterStats;
  /** An instance broke, or could not be started again. */
  onTrap(filter: string, reason: string): void;
  /** A call that the filter's capabilities do not grant; `capability` is one of their names. */
  onDenied?(filter: string, capability: string): void;
  /** `reason`: what it broke of last, or why it is out again. */
  onQuarantine?(filter: string, isQuarantined: boolean, reason?: string): void;
  /** Of what serves, once for each change: `reason` says who did it; absent: the filter is gone, nothing was switched. */
  onDisabled?(filter: string, isDisabled: boolean, reason?: string): void;
  /** An exchange got the filter's `onFailure` because the share of this second was used up. */
  onThrottle?(filter: string): void;
  /**
   * Has `pull` called before values are handed on: what filters count in their own memory is added then. Answers how to end
   * that. Absent: such counting is not offered, and each count is a call.
   */
  onPull?(pull: () => void): () => void;
}
