import type { ActionConfig, ForwardingConfig } from "../config/snapshot.ts";
import { type Bytes, EMPTY_BYTES, utf8Bytes } from "../core/bytes.ts";
import { Failure } from "../core/failure.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../core/head.ts";
import type { LocalResponse } from "../filters/contract.ts";
import type { ProxyCore } from "./core.ts";
import { ALLOWED_METHODS, renderFailure } from "./errors.ts";
import { redirectLocation } from "./routing/rewrite.ts";
import type { RouteMatch } from "./routing/router.ts";

/** An answer that the proxy gives itself, whole. */
export interface LocalAnswer {
  readonly head: ResponseHead;
  readonly body: Bytes;
  /** Why it is not what the caller wanted; undefined for redirects and configured responses. */
  readonly failure: Failure | undefined;
}

type LocalAction = Exclude<ActionConfig, { kind: "forward" }>;
const lastRecipient = (status: number): LocalAction => ({
  ...{ kind: "respond", status, headers: [["allow", ALLOWED_METHODS]], body: "" },
});
const NO_FORWARDS = { OPTIONS: lastRecipient(204), TRACE: lastRecipient(405) } as const;
/** More than any chain of proxies has. */
const FORWARDS_MAX = 1_000_000;

/**
 * `Max-Forwards` of OPTIONS and TRACE (RFC 9110 §7.6.2): at 0 nobody behind us is asked, else it goes on with one less. What is no number
 * says nothing.
 */
export function limitForwards(action: ActionConfig, { method, headers }: RequestHead): ActionConfig {
  if (action.kind !== "forward" || (method !== "OPTIONS" && method !== "TRACE")) return action;
  const given = headers.getAll("max-forwards");
  if (given.length === 0 || !given.every((value) => /^[0-9]+$/.test(value))) return action;
  const left = Math.min(...given.map(Number), FORWARDS_MAX);
  if (left === 0) return NO_FORWARDS[method];
  headers.set("max-forwards", String(left - 1));
  return action;
}

/** What a rule without backends answers. */
export function answerLocally(
  action: LocalAction,
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
