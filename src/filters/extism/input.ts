import type { RequestHead, ResponseHead } from "../../core/head.ts";
import { targetOf } from "../../core/head.ts";

/**
 * What plug-ins get, as JSON. `JSON.stringify` of objects made for it is faster than texts put together by hand (1.0 against
 * 2.2 us on Bun, 0.9 against 1.2 on Deno, for a request with four fields). Values of fields are bytes on the wire; here each is
 * the character of the same number.
 */

export function requestInput(head: RequestHead, source: string, end: boolean): string {
  const { method, scheme, authority } = head;
  return JSON.stringify({ method, scheme, authority, path: targetOf(head), headers: head.headers.entries(), end, source });
}

/** `state`: what the plug-in kept when it saw the request; undefined: nothing, and no member. */
export function responseInput(head: ResponseHead, request: RequestHead, end: boolean, state: string | undefined): string {
  const { method, scheme, authority } = request;
  const line = { method, scheme, authority, path: targetOf(request) };
  return JSON.stringify({ status: head.status, headers: head.headers.entries(), end, request: line, state });
}
