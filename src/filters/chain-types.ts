import type { FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import type { RequestHead, ResponseHead } from "../core/head.ts";
import type { ExchangeFacts } from "./attributes.ts";
import type { CalloutAnswer, CalloutRequest, Direction, LocalResponse } from "./contract.ts";

/**
 * What became of a head, a piece of body or an end that went through the chain.
 * - `forward`: it goes on. After `requestData`/`responseData`/`requestEnd`/`responseEnd` send `chain.data` (the very bytes
 *   unless a filter changed or held some; may be empty), and with the end `chain.requestTrailers`/`chain.responseTrailers`.
 * - `held`: a filter paused. Nothing goes on now; `host.onChainForward`, `onChainRespond` or `onChainFail` comes later.
 * - `respond`: a filter answers: `chain.localResponse`. It goes through the response side of the chain like any answer.
 * - `failed`: `chain.failure`; render it like any failure of the proxy.
 */
export type ChainResult = "forward" | "held" | "respond" | "failed";

/** What one filter did in one exchange. Times and fuel are exact, of those exchanges that are timed; of others nobody knows. */
export interface FilterRun {
  readonly name: string;
  /** The strongest thing that it answered: `continue`, `pause`, `respond`, or the code of a failure. */
  readonly verdict: string;
  /** In its callbacks, ms; undefined: nobody knows. */
  readonly spentMs: number | undefined;
  /** That the exchange waited for its word, ms; 0 also when nobody knows. */
  readonly waitedMs: number;
  /** Of all its callbacks up to the log's; undefined: nobody knows. */
  readonly fuel: number | undefined;
}

/**
 * What the chain needs from the exchange; the exchange itself implements it. The `onChain…` calls come only for what a
 * chain call answered `held` before (or for a trap that hit this exchange in between), never from inside a chain call.
 */
export interface ChainHost {
  /** It is a stream of bytes: `request` is empty, and there never is a response. Default: false. */
  readonly isStream?: boolean;
  /** Edited in place by filters. When a filter wrote `:path`, `chain.targetChanged` is true: normalise again before sending. */
  readonly request: RequestHead;
  /** Set before `chain.responseHead` is called; edited in place by filters. */
  readonly response: ResponseHead | undefined;
  /** What attributes are read from. */
  readonly facts: ExchangeFacts;
  /** Starts an HTTP call to a service for a filter; 0: refused. `done` comes once unless cancelled, never in this call. */
  callout(filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number;
  cancelCallout(id: number): void;
  /**
   * What was held goes on: the head when `head`, then `data` (may be empty; valid during the call), then the end when `end`
   * (with `chain.requestTrailers` or `chain.responseTrailers`).
   */
  onChainForward(direction: Direction, head: boolean, data: Bytes, end: boolean): void;
  /** A filter answers from outside a callback. Not called once the answer's head is out: `onChainFail` is. */
  onChainRespond(response: LocalResponse): void;
  /** A filter failed closed outside a callback, or its pause took too long. */
  onChainFail(failure: Failure): void;
  /** Back-pressure while a head is held and body bytes come, or a filter holds as much of a stream as it may; always balanced by `resumeSource` unless the chain is closed. */
  pauseSource(direction: Direction): void;
  resumeSource(direction: Direction): void;
  /** Something of ours threw while nothing of the exchange was on the stack. */
  onBug(error: unknown): void;
}
