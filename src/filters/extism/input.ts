import type { Bytes } from "../../core/bytes.ts";
import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import { targetOf } from "../../core/head.ts";
import type { Grants } from "../guest/grants.ts";
import type { NameSet } from "../guest/name-set.ts";
import { JsonBytes } from "./json-bytes.ts";

/**
 * What plug-ins get, as JSON in a view that is valid until the next call. Values of fields are bytes on the wire; here each is the
 * character of the same number.
 */
const out = new JsonBytes();

export function requestInput(head: RequestHead, source: string, end: boolean, visible?: NameSet): Bytes {
  out.clear();
  out.raw("{");
  writeLine(head, visible);
  out.raw(',"headers":');
  writeFields(head.headers, visible);
  out.raw(end ? ',"end":true,"source":' : ',"end":false,"source":');
  out.text(source);
  out.raw("}");
  return out.view();
}

/** `state`: what the plug-in kept when it saw the request; undefined: nothing, and no member. */
export function responseInput(
  head: ResponseHead,
  request: RequestHead,
  end: boolean,
  state: string | undefined,
  grants: Pick<Grants, "requestRead" | "responseRead">,
): Bytes {
  const visible = grants.responseRead;
  out.clear();
  out.raw('{"status":');
  out.raw(visible?.has(":status") === false ? "0" : String(head.status));
  out.raw(',"headers":');
  writeFields(head.headers, visible);
  out.raw(end ? ',"end":true,"request":{' : ',"end":false,"request":{');
  writeLine(request, grants.requestRead);
  out.raw("}");
  if (state !== undefined) {
    out.raw(',"state":');
    out.text(state);
  }
  out.raw("}");
  return out.view();
}

/** "" for what the plug-in may not see. */
function writeLine(head: RequestHead, visible: NameSet | undefined): void {
  const see = (name: string): boolean => visible?.has(name) !== false;
  out.raw('"method":');
  out.text(see(":method") ? head.method : "");
  out.raw(',"scheme":');
  out.text(see(":scheme") ? head.scheme : "");
  out.raw(',"authority":');
  out.text(see(":authority") ? head.authority : "");
  out.raw(',"path":');
  out.text(see(":path") ? targetOf(head) : "");
}

function writeFields({ names, values }: HeaderBlock, visible: NameSet | undefined): void {
  out.raw("[");
  let isFirst = true;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (visible !== undefined && !visible.has(name)) continue;
    out.raw(isFirst ? "[" : ",[");
    isFirst = false;
    out.text(name);
    out.raw(",");
    out.text(values[i] as string);
    out.raw("]");
  }
  out.raw("]");
}
