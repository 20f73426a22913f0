import { type Bytes, EMPTY_BYTES, utf8Bytes } from "../core/bytes.ts";
import type { Failure } from "../core/failure.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../core/head.ts";
import { readQuality } from "./quality.ts";

/** Methods that a proxy lets pass, as far as it is asked. */
export const ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/** The only file that writes error responses. */

export interface RenderedFailure {
  readonly head: ResponseHead;
  readonly body: Bytes;
}

/**
 * The answer to a failure: a small body with code, sentence and request id, JSON or text as the caller accepts; for gRPC
 * trailers-only with status 200. Nothing that a peer sent is in it. HEAD keeps its length and loses its body in the codec.
 */
export function renderFailure(failure: Failure, request: RequestHead | undefined, requestId: string): RenderedFailure {
  const { status, grpc, message } = failure.row;
  const headers = new HeaderBlock();
  if (request?.headers.get("content-type")?.startsWith("application/grpc") === true) {
    headers.add("content-type", "application/grpc");
    headers.add("grpc-status", String(grpc));
    headers.add("grpc-message", `${message} (${failure.code})`);
    addCommon(headers, failure, requestId);
    return { head: { status: 200, reason: "", version: 11, upgrade: undefined, headers }, body: EMPTY_BYTES };
  }
  // Who speaks plain HTTP to a port for TLS is somebody at a browser or a shell more often than a program.
  const json = failure.code !== "plain_http" && prefersJson(request);
  const text = json
    ? `${JSON.stringify({ error: { code: failure.code, message, requestId } })}\n`
    : `${message}\ncode: ${failure.code}\nrequest: ${requestId}\n`;
  const body = utf8Bytes(text);
  headers.add("content-type", json ? "application/json" : "text/plain; charset=utf-8");
  headers.add("content-length", String(body.byteLength));
  addCommon(headers, failure, requestId);
  // RFC 9110 §15.5.22: a 426 says to what.
  const upgrade = status === 426 ? "websocket" : undefined;
  return { head: { status, reason: "", version: 11, upgrade, headers }, body };
}

function addCommon(headers: HeaderBlock, failure: Failure, requestId: string): void {
  headers.add("cache-control", "no-store");
  // Tells an answer of the proxy from one of the service (field notes, row 98).
  headers.add("x-selvedge-failure", failure.code);
  if (requestId !== "") headers.add("x-request-id", requestId);
  if (failure.status === 405) headers.add("allow", ALLOWED_METHODS);
  if (failure.code === "unauthenticated") headers.add("www-authenticate", "Bearer");
}

/** More ranges than anybody sends; the rest of a list is not looked at. */
const ACCEPT_RANGES = 32;

/**
 * JSON or text, whichever Accept rates higher (RFC 9110 §12.5.1: the most specific range counts); JSON when both are equal and when nothing
 * was said, text when neither is wanted. Any type of text stands for ours, and every type that is JSON: who asks for HTML reads text.
 */
function prefersJson(request: RequestHead | undefined): boolean {
  const accept = request?.headers.getAll("accept").join(",") ?? "";
  if (accept === "") return true;
  let json: number | undefined;
  let text: number | undefined;
  let application: number | undefined;
  let any = 0;
  for (const range of accept.split(",", ACCEPT_RANGES)) {
    const [type = "", ...parameters] = range.split(";").map((each) => each.trim().toLowerCase());
    const quality = readQuality(parameters);
    if (type === "application/json" || type.endsWith("+json")) json = Math.max(json ?? 0, quality);
    else if (type.startsWith("text/")) text = Math.max(text ?? 0, quality);
    else if (type === "application/*") application = quality;
    else if (type === "*/*") any = quality;
  }
  const jsonQuality = json ?? application ?? any;
  return jsonQuality > 0 && jsonQuality >= (text ?? any);
}
