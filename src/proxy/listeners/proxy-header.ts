import type { Bytes } from "../../core/bytes.ts";
import type { Failure } from "../../core/failure.ts";

/** One side of the proxied connection; port 0 for Unix sockets. */
export interface ProxyPeer {
  readonly address: string;
  readonly port: number;
}

/** What a PROXY header said. */
export interface ProxyHeader {
  readonly kind: "header";
  readonly version: 1 | 2;
  /** Bytes of the header: what follows belongs to the connection. */
  readonly consumed: number;
  /** Undefined for LOCAL (v2) and UNKNOWN (v1): the connection's own addresses count. */
  readonly source: ProxyPeer | undefined;
  readonly destination: ProxyPeer | undefined;
}

/** `need-more`: a prefix of a header. `absent`: these bytes can not begin a header. A failure: it began as one and is malformed. */
export type ProxyHeaderResult = ProxyHeader | "need-more" | "absent" | Failure;

/** Reads the header at the start of `bytes` (everything received so far). */
export function readProxyHeader(_bytes: Bytes): ProxyHeaderResult {
  throw new Error("not yet");
}

/** The header for a connection that we open; undefined addresses give UNKNOWN or LOCAL. */
export function writeProxyHeader(
  _version: "v1" | "v2",
  _source: ProxyPeer | undefined,
  _destination: ProxyPeer | undefined,
): Bytes {
  throw new Error("not yet");
}
