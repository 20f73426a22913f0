import type { Bytes } from "../../core/bytes.ts";

/** Bytes of pipelined requests kept while an exchange is under way; beyond, the socket is paused. */
const BACKLOG_BYTES_MAX = 64 * 1024;
const HEAD_END = "\r\n\r\n";

/** Is there as much of pipelined requests as may wait? Counts ends of heads: at least as many as there are whole requests. */
export function isFull(backlog: Bytes, requestsMax: number): boolean {
  if (backlog.byteLength > BACKLOG_BYTES_MAX) return true;
  const text = Buffer.from(backlog.buffer, backlog.byteOffset, backlog.byteLength);
  let heads = 0;
  for (let at = text.indexOf(HEAD_END); at >= 0; at = text.indexOf(HEAD_END, at + 4)) if (++heads >= requestsMax) return true;
  return false;
}
