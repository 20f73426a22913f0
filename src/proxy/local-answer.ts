import type { ActionConfig, ForwardingConfig } from "../config/snapshot.ts";
import { type Bytes, EMPTY_BYTES, utf8Bytes } from "../core/bytes.ts";
import { Failure } from "../core/failure.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../core/head.ts";
import type { LocalResponse } from "../filters/contract.ts";
import type { ProxyCore } from "./core.ts";
import { renderFailure } from "./errors.ts";
import { redirectLocation } from "./routing/rewrite.ts";
import type { RouteMatch } from "./routing/router.ts";

/** An answer that the proxy gives itself, whole. */
export interface LocalAnswer {
  readonly head: ResponseHead;
  readonly body: Bytes;
  /** Why it is not what the caller wanted; undefined for redirects and configured responses. */
  readonly failure: Failure | undefined;
}

/** What a rule without backends answers. */
export function answerLocally(
  action: Exclude<ActionConfig, { kind: "forward" }>,
  match: RouteMatch,
  request: RequestHead,
  localPort: number,
  requestId: string,
): LocalAnswer {
  switch (action.kind) {
    case "redirect": {
      const location = redirectLocation(action, match, request, localPort);
      return { ...whole(action.status, HeaderBlock.from([["location", location]]), EMPTY_BYTES), failure: undefined };
    }
    case "respond":
      return { ...whole(action.status, HeaderBlock.from(action.headers), utf8Bytes(action.body)), failure: undefined };
    case "maintenance":
      return maintain(action, request, requestId);
  }
}

function maintain(action: Extract<ActionConfig, { kind: "maintenance" }>, request: RequestHead, requestId: string): LocalAnswer {
  const failure = new Failure("maintenance");
  const { head, body } = renderFailure(failure, request, requestId);
  if (action.retryAfterSeconds !== undefined) head.headers.set("retry-after", String(action.retryAfterSeconds));
  if (action.body === undefined) return { head, body, failure };
  head.headers.set("content-type", "text/plain; charset=utf-8");
  const custom = utf8Bytes(action.body);
  head.headers.set("content-length", String(custom.byteLength));
  return { head, body: custom, failure };
}

/** A filter's answer as a message. */
export function fromFilter(response: LocalResponse): { head: ResponseHead; body: Bytes } {
  return whole(response.status, response.headers, response.body);
}

/** Last edits of a head, whoever answered. */
export function finishAnswerHead(
  head: ResponseHead,
  { requestIdHeader, via }: ForwardingConfig,
  requestId: string,
  core: ProxyCore,
): void {
  const { headers } = head;
  core.addDate(head);
  if (requestIdHeader !== undefined && requestId !== "") headers.set(requestIdHeader, requestId);
  if (via !== undefined) headers.add("via", `1.1 ${via}`);
}

function whole(status: number, headers: HeaderBlock, body: Bytes): { head: ResponseHead; body: Bytes } {
  if (status !== 204 && status !== 304) headers.set("content-length", String(body.byteLength));
  return { head: { status, reason: "", version: 11, upgrade: undefined, headers }, body };
}
