import { HeaderBlock, type RequestHead } from "../core/head.ts";
import { AUTHORITY, METHOD, QUERY, WIRE_PATH } from "./codec/chars.ts";
import { isAlias, kindOf, NAME } from "./forwarding-names.ts";
import type { Generation } from "./generation.ts";

/** Names that a filter has no say in: the authority is the host, and the body its length. */
const OURS: ReadonlySet<string> = new Set(["host", "content-length"]);

/**
 * The head of a filter's call, of fields with pseudo headers among them; undefined: it is none that may be sent. Whoever is called
 * takes this proxy for a hop that it trusts, so what only such a hop may say of where a request came from goes out as the proxy
 * said it in `told`, the request that the call is made for, or not at all. What is the mesh's own no filter says.
 */
export function calloutHead(
  headers: HeaderBlock,
  generation: Generation,
  told: HeaderBlock | undefined,
): RequestHead | undefined {
  const method = headers.get(":method");
  const target = headers.get(":path");
  const authority = headers.get(":authority");
  if (method === undefined || authority === undefined || target === undefined || !target.startsWith("/")) return undefined;
  // The answer to it would be a tunnel.
  if (method === "CONNECT") return undefined;
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = mark < 0 ? undefined : target.slice(mark + 1);
  // As Envoy has it, the path goes as the filter wrote it: none of our rules reads it, so there is nothing that another spelling could pass.
  const isWritable = isOf(method, METHOD) && isOf(authority, AUTHORITY) && isOf(path, WIRE_PATH) && isOf(query ?? "", QUERY);
  if (method === "" || !isWritable) return undefined;
  return {
    method,
    scheme: headers.get(":scheme") ?? "http",
    authority,
    path,
    query,
    version: 11,
    upgrade: undefined,
    headers: calloutFields(headers, generation, told),
  };
}

/** What the codec would not write is told at once, before a connection is asked for. */
function isOf(text: string, table: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (table[text.charCodeAt(i)] !== 1) return false;
  return true;
}

/** Of a head or trailers: without what a filter may not say in a call. */
export function calloutFields(fields: HeaderBlock, generation: Generation, told: HeaderBlock | undefined): HeaderBlock {
  const owned = believedNames(generation);
  const block = new HeaderBlock();
  for (const [name, value] of fields.entries()) {
    if (name.startsWith(":") || OURS.has(name) || isAlias(name, owned)) continue;
    const kind = kindOf(name);
    if (kind === NAME.internal) continue;
    if ((kind === NAME.forwarding || owned.has(name)) && !says(told, name, value)) continue;
    block.add(name, value);
  }
  return block;
}

/** What configuration lets trusted hops say besides. */
function believedNames({ listeners }: Generation): ReadonlySet<string> {
  const names = new Set<string>();
  for (const { forwarding } of listeners.values()) for (const name of forwarding.config.trustedHeaders) names.add(name);
  return names;
}

function says(told: HeaderBlock | undefined, name: string, value: string): boolean {
  return told?.entries().some(([theirs, said]) => theirs === name && said === value) === true;
}
