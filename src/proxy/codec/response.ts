import { Failure } from "../../core/failure.ts";
import type { HttpVersion, ResponseHead } from "../../core/head.ts";
import { isText, SP } from "./chars.ts";
import type { HeadFields } from "./fields.ts";
import { type BodyKind, checkCoding } from "./framing.ts";
import { REASONS } from "./reasons.ts";
import { readVersion } from "./request.ts";

/** A status line's parts; reused. */
export const statusLine = { version: 11 as HttpVersion, status: 0, reasonStart: 0, reasonEnd: 0 };

/** `HTTP/1.x SP ddd [SP reason]` (RFC 9112 §4). A missing reason, with or without its space, is common and unambiguous. */
export function readStatusLine(bytes: Uint8Array, end: number): Failure | undefined {
  if (end < 12 || bytes[8] !== SP) return bad("malformed status line");
  const version = readVersion(bytes, 0, 8);
  if (version !== 10 && version !== 11) return bad("version");
  let status = 0;
  for (let at = 9; at < 12; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return bad("status is not three digits");
    status = status * 10 + digit;
  }
  if (status < 100) return bad("status below 100");
  if (end > 12 && bytes[12] !== SP) return bad("no space behind the status");
  statusLine.version = version;
  statusLine.status = status;
  statusLine.reasonStart = Math.min(13, end);
  statusLine.reasonEnd = end;
  return undefined;
}

const bad = (detail: string): Failure => new Failure("upstream_protocol", detail);

/** `line`: bytes that begin with the status line. */
export function makeResponseHead(line: Buffer, fields: HeadFields): ResponseHead {
  const { status, reasonStart, reasonEnd } = statusLine;
  const usual = REASONS[status];
  return {
    status,
    reason: usual !== undefined && isText(line, reasonStart, reasonEnd, usual) ? usual : line.latin1Slice(reasonStart, reasonEnd),
    version: statusLine.version,
    upgrade: undefined,
    headers: fields.block,
  };
}

/** Never a body, whatever the fields say (RFC 9112 §6.3, items 1 and 2). */
export const isBodiless = (status: number, method: string): boolean =>
  status < 200 || status === 204 || status === 304 || method === "HEAD";

/** How the body of an answer to `method` ends (RFC 9112 §6.3); strict where it says MAY. */
export function judgeResponseFraming(head: ResponseHead, fields: HeadFields, method: string): BodyKind | Failure {
  if (fields.codings > 0) {
    const failure = checkCoding(fields, head.version);
    if (failure !== undefined) return failure;
  }
  if (isBodiless(head.status, method)) {
    // 1xx and 204 must not declare a length; where one is declared it means nothing and goes no further.
    if (head.status < 200 || head.status === 204) head.headers.remove("content-length");
    return "none";
  }
  if (fields.codings > 0) return "chunked";
  if (fields.contentLength === 0) return "none";
  return fields.contentLength > 0 ? "length" : "close";
}

/** N of `Keep-Alive: timeout=N`, in milliseconds; -1: not said. */
export function keepAliveMs(value: string): number {
  const match = /(?:^|[,\s])timeout=(\d{1,6})(?=$|[,\s])/i.exec(value);
  return match === null ? -1 : Number(match[1]) * 1000;
}
