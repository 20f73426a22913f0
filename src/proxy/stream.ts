import type { Bytes } from "../core/bytes.ts";
import type { Blamed } from "../core/containment.ts";
import type { Failure } from "../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../core/head.ts";
import type { UpstreamConnection } from "../filters/attributes.ts";

/**
 * Seam 3: one request and its answer, seen from one peer, whatever protocol carries it. HTTP/1, HTTP/2 and an in-memory pair
 * implement it in both roles; one contract suite tests them all. Push with back-pressure: no promise, no iterator.
 * Nothing above this seam may assume one exchange per connection.
 */

/** The peer that asked us: it gives a request and takes an answer. */
export interface DownstreamStream extends Blamed {
  readonly connection: ConnectionInfo;
  handler: DownstreamHandler;
  /** 1xx heads may come before the final one. `end`: no body follows. 101 turns the stream into a tunnel. A failure: the head cannot be put on the wire and nothing was sent. */
  sendHead(head: ResponseHead, end: boolean): Failure | undefined;
  /** Takes all of `bytes[start, end)` (the caller may reuse them); default: all there is. False: pause the source until `onWritable`. */
  sendData(bytes: Bytes, start?: number, end?: number): boolean;
  /** After the body; in a tunnel: half-close. */
  sendEnd(trailers: HeaderBlock | undefined): void;
  /** Breaks off so that the peer can tell: before the head nothing was sent, after it the connection is aborted. */
  reset(failure: Failure): void;
  /** Stops and restarts what the peer sends (`onData`). */
  pause(): void;
  resume(): void;
}

export interface DownstreamHandler extends Blamed {
  /** A piece of the body: `bytes[start, end)`, never empty; valid only during the call. */
  onData(bytes: Bytes, start: number, end: number): void;
  onEnd(trailers: HeaderBlock | undefined): void;
  /** The peer went away, sent garbage in the middle of a body, or exceeded a limit. The last call. */
  onReset(failure: Failure): void;
  onWritable(): void;
}

/** The peer that we ask. */
export interface UpstreamStream extends Blamed {
  /** True when its connection had carried an exchange before (so that a reset without a byte may be a stale connection). */
  readonly reused: boolean;
  /** The connection that carries it; known beyond its close. */
  readonly socket: UpstreamConnection;
  handler: UpstreamHandler;
  sendHead(head: RequestHead, end: boolean): void;
  sendData(bytes: Bytes, start?: number, end?: number): boolean;
  sendEnd(trailers: HeaderBlock | undefined): void;
  /** Gives the exchange up; the connection is not reused unless the protocol allows it. */
  reset(failure: Failure): void;
  pause(): void;
  resume(): void;
}

export interface UpstreamHandler extends Blamed {
  /** Also for 1xx (then others follow). `end`: no body follows. After 101 the stream is a tunnel. */
  onHead(head: ResponseHead, end: boolean): void;
  /** A piece of the body: `bytes[start, end)`, never empty; valid only during the call. */
  onData(bytes: Bytes, start: number, end: number): void;
  onEnd(trailers: HeaderBlock | undefined): void;
  /** The last call, instead of `onEnd`. `failure.code` says which: `upstream_reset` before a byte of the answer, `upstream_aborted` after its head. */
  onReset(failure: Failure): void;
  onWritable(): void;
}

/** What is known about the connection that carries a downstream stream; constant for its life. */
export interface ConnectionInfo {
  /** Unique within the process. */
  readonly id: number;
  /** The peer's address: of the PROXY header when a trusted one came, else of the socket. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** The socket's own peer, also behind a PROXY header. */
  readonly directAddress: string;
  readonly listener: string;
  readonly tls: import("../runtime/net.ts").TlsInfo | undefined;
  /** A reload took the authority of its client certificate away: a new connection must show one that holds. */
  distrusted?: boolean;
}
