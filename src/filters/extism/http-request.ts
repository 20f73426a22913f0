import type { Bytes } from "../../core/bytes.ts";
import { HeaderBlock } from "../../core/head.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { FILTER_HEAD_LIMITS } from "../../core/limits.ts";
import { isEditable } from "../component/edits.ts";
import { lowerName } from "../guest/fields.ts";
import { fitsHead, sizeOfFields } from "../guest/head-budget.ts";

/** A request that a plug-in makes, as a call-out has it. */
export interface HttpRequest {
  /** Host of the URL without its port: the name of a service. */
  readonly host: string;
  readonly headers: HeaderBlock;
  readonly body: Bytes;
}

/** Of Extism's manifest, and what its older PDKs write. */
const MEMBERS: ReadonlySet<string> = new Set(["url", "method", "headers", "header"]);
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;
/** Of a URL, a name: what is longer is told in part. */
const QUOTED_CHARS = 64;

/** Reads the JSON of `http_request`; a text: what is wrong with it. `maxBytes`: of its head and its body together. */
export function readHttpRequest(text: string, body: Bytes, maxBytes: number): HttpRequest | string {
  const parsed = parseObject(text);
  if (parsed === undefined) return "its request is no JSON object";
  for (const name of Object.keys(parsed)) if (!MEMBERS.has(name)) return `its request has an unknown member ${quoted(name)}`;
  const { url, method } = parsed;
  const target = typeof url === "string" ? readUrl(url) : undefined;
  if (target === undefined) return "its url is none of http or https with a host and without a password";
  const verb = method ?? "GET";
  // The answer to CONNECT is a tunnel.
  if (typeof verb !== "string" || !TOKEN.test(verb) || verb === "CONNECT") return "its method is none that it may use";
  const headers = new HeaderBlock();
  headers.add(":method", verb);
  headers.add(":path", `${target.pathname}${target.search}`);
  headers.add(":authority", target.host);
  const problem = addFields(headers, parsed.headers ?? parsed.header ?? {});
  if (problem !== undefined) return problem;
  if (!fitsHead(headers)) return "its request has more fields than a head may have";
  if (sizeOfFields(headers.names, headers.values) + body.byteLength > maxBytes) return "its request is larger than its budget";
  return { host: target.hostname, headers, body };
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, QUOTED_CHARS));

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed = parseShallowJson(text);
    return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
      ? (parsed as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

function readUrl(text: string): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) return undefined;
  return url.username === "" && url.password === "" && url.hostname !== "" ? url : undefined;
}

function addFields(block: HeaderBlock, fields: unknown): string | undefined {
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) return "its headers are no object";
  for (const [name, value] of Object.entries(fields)) {
    if (block.names.length > FILTER_HEAD_LIMITS.fields) return "its request has more fields than a head may have";
    const key = lowerName(name);
    // The proxy's own, by the body that there is.
    if (key === "content-length") continue;
    if (typeof value !== "string" || !isEditable(key, value)) return `its field ${quoted(key)} may not be written so`;
    block.add(key, value);
  }
  return undefined;
}
