import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import { targetOf } from "../../core/head.ts";
import type { Grants } from "../guest/grants.ts";
import type { NameSet } from "../guest/name-set.ts";

/**
 * What plug-ins get, as JSON. `JSON.stringify` of objects made for it is faster than texts put together by hand (1.0 against
 * 2.2 us on Bun, 0.9 against 1.2 on Deno, for a request with four fields). Values of fields are bytes on the wire; here each is
 * the character of the same number.
 */

export function requestInput(head: RequestHead, source: string, end: boolean, visible?: NameSet): string {
  const line = lineOf(head, visible);
  return JSON.stringify({ ...line, headers: fieldsOf(head.headers, visible), end, source });
}

/** "" for what the plug-in may not see. */
function lineOf(head: RequestHead, visible: NameSet | undefined): object {
  const { method, scheme, authority } = head;
  if (visible === undefined) return { method, scheme, authority, path: targetOf(head) };
  return {
    method: visible.has(":method") ? method : "",
    scheme: visible.has(":scheme") ? scheme : "",
    authority: visible.has(":authority") ? authority : "",
    path: visible.has(":path") ? targetOf(head) : "",
  };
}

function fieldsOf(block: HeaderBlock, visible: NameSet | undefined): [string, string][] {
  const entries = block.entries();
  return visible === undefined ? entries : entries.filter(([name]) => visible.has(name));
}

/** `state`: what the plug-in kept when it saw the request; undefined: nothing, and no member. */
export function responseInput(
  head: ResponseHead,
  request: RequestHead,
  end: boolean,
  state: string | undefined,
  grants: Pick<Grants, "requestRead" | "responseRead">,
): string {
  const visible = grants.responseRead;
  const status = visible?.has(":status") === false ? 0 : head.status;
  const line = lineOf(request, grants.requestRead);
  return JSON.stringify({ status, headers: fieldsOf(head.headers, visible), end, request: line, state });
}
