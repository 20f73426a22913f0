import type { PathPolicyConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { Failure } from "../../core/failure.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import type { HttpLimits } from "../../core/limits.ts";

/**
 * Seam 4: the HTTP/1 codec. Sans-IO: bytes in, calls out; it never waits, never touches a socket or a clock. One class,
 * `Http1Codec` (http1.ts), serves both roles, because what is read depends on what was written (HEAD, 204, 304, 101, CONNECT).
 * `downstream`: reads requests and writes responses. `upstream`: writes requests and reads responses.
 */
export type Http1Role = "downstream" | "upstream";

export interface Http1Options {
  readonly role: Http1Role;
  readonly limits: HttpLimits;
  /** Scheme of the connection: `http` or `https`. */
  readonly scheme: string;
  /** Downstream only: how paths are normalised and what is refused. */
  readonly paths: PathPolicyConfig;
  readonly underscores: "reject" | "drop" | "keep";
  readonly sink: Http1Sink;
}

/** What the codec calls while it reads, in this order: head, data*, end; or failure, which ends everything. */
export interface Http1Sink {
  /** Role `downstream`. `end`: there is no body (then `onEnd` is not called). */
  onRequest(head: RequestHead, end: boolean): void;
  /** Role `upstream`. Also 1xx heads (`end` false); a 101 turns the codec into a tunnel. */
  onResponse(head: ResponseHead, end: boolean): void;
  /** A piece of the body without its framing (in a tunnel: raw bytes): `bytes[start, end)`, valid only during the call. */
  onData(bytes: Bytes, start: number, end: number): void;
  /** The body is complete. In a tunnel: the peer's FIN. */
  onEnd(trailers: HeaderBlock | undefined): void;
  /** What came is not HTTP as it must be. Nothing more is read. Downstream codes are `bad_*`, `uri_too_long`, …; upstream ones `upstream_protocol`, `upstream_reset`, `upstream_aborted`. */
  onFailure(failure: Failure): void;
}

/**
 * States of one direction.
 * `idle`: between messages. `head`: some bytes of a head are there. `body`, `done`: the message is complete.
 * `tunnel`: raw bytes. `closed`: EOF. `failed`.
 */
export type Http1State = "idle" | "head" | "body" | "done" | "tunnel" | "closed" | "failed";
