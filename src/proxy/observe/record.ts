import type { Failure } from "../../core/failure.ts";
import type { RequestHead } from "../../core/head.ts";
import type { FilterRun } from "../../filters/chain-types.ts";
import type { ConnectionInfo } from "../stream.ts";

/**
 * What is known about one exchange when it is over: read by metrics, access log and trace in that very call, never kept.
 * The exchange itself implements it, so nothing is copied per request.
 */
export interface ExchangeRecord {
  readonly connection: ConnectionInfo;
  /** Undefined when the bytes never made a request. */
  readonly request: RequestHead | undefined;
  /** As the caller sent it: before rewrites. */
  readonly originalPath: string;
  readonly originalAuthority: string;
  /** The caller's address after trusted hops. */
  readonly clientAddress: string;
  readonly requestId: string;
  readonly traceId: string;
  /** Of the span to be exported: 16 hex digits, told to the upstream as its parent. "": none is exported. */
  readonly spanId: string;
  /** The caller's; "" when it named none. */
  readonly parentSpanId: string;
  /** `namespace/route` and the rule within; "" when none matched. */
  readonly routeName: string;
  readonly ruleName: string;
  /** Of the rule's paths, when it has one only: `/users/{id}`, `/files/*`; "" when there is none to tell. */
  readonly pathPattern: string;
  /** "" when no backend was chosen. */
  readonly serviceName: string;
  readonly subsetName: string;
  readonly endpointKey: string;
  /** Of the answer sent; 0 when none was. */
  readonly status: number;
  readonly failure: Failure | undefined;
  /** Who answered: the upstream, a filter (its name), the proxy itself. */
  readonly answeredBy: string;
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Monotonic, ms. `firstByteMs`: head of the upstream's answer; 0: none came. */
  readonly startMs: number;
  readonly firstByteMs: number;
  readonly endMs: number;
  readonly attempts: number;
  readonly tunnel: boolean;
  /** Texts that filters set for the log (`selvedge.log.*` attributes), undefined when none. */
  readonly filterNotes: ReadonlyMap<string, string> | undefined;
  /** What each filter did; with times only when the access log's settings ask for them. Made by this call. */
  filterRuns(): readonly FilterRun[];
  /** Of an answer that a filter gave: which one, and its details; else "". */
  readonly answeringFilter: string;
  readonly answerDetails: string;
  responseHeader(name: string): string | undefined;
}

/** What is known about a stream of bytes (TCP): the stream itself implements it, and what changes is there while it is open. */
export interface StreamRecord {
  readonly connection: ConnectionInfo;
  readonly id: string;
  /** "" when none serves the listener. */
  readonly routeName: string;
  /** "" when no backend was chosen. */
  readonly serviceName: string;
  readonly subsetName: string;
  readonly endpointKey: string;
  readonly failure: Failure | undefined;
  /** What the downstream said, and what it was told. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  /** Monotonic, ms. */
  readonly startMs: number;
  /** From the start until an endpoint was connected; -1: none was. */
  readonly connectMs: number;
  /** 0 while it is open. */
  readonly endMs: number;
  readonly attempts: number;
  /** Texts that filters set for the log (`selvedge.log.*` attributes), undefined when none. */
  readonly filterNotes: ReadonlyMap<string, string> | undefined;
}

/** Gets everything the proxy observes. One per process; must never throw, and keep no record: that of a stream until its end. */
export interface Observer {
  onStreamStart(record: StreamRecord): void;
  onStreamEnd(record: StreamRecord): void;
  onExchangeStart(): void;
  onExchangeEnd(record: ExchangeRecord): void;
  onConnectionOpen(listener: string): void;
  onConnectionClose(listener: string): void;
  /** A TLS handshake or a PROXY header began (1) or is over (-1), whatever came of it. */
  onHandshake(listener: string, change: 1 | -1): void;
  /** A connection that ended before it made a request: TLS handshake failed, PROXY header refused, timed out. */
  onConnectionFailure(listener: string, failure: Failure): void;
  onUpstreamConnect(service: string, ok: boolean, ms: number): void;
  onUpstreamClose(service: string): void;
  onPoolPending(service: string, change: 1 | -1): void;
  /** A bug of ours cost a connection, and not the process. */
  onContained(): void;
}
