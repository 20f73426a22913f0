import { z } from "zod";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { list, show } from "./names.ts";
import { Refusal, textOf } from "./text.ts";

/** Fields that the codecs own (RFC 9110 §7.6.1, §8.6, §7.2): editing one would let two parsers disagree. */
const OWNED_BY_CODEC = new Set([
  "connection",
  "content-length",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Fields whose values are never logged. */
const CREDENTIALS = new Set(["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"]);

/** A field name in lower case (RFC 9110 §5.1). */
export function readHeaderName(text: string): string | Refusal {
  if (text.length <= 256 && /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(text)) return text.toLowerCase();
  return new Refusal("bad_header", `${show(text)} is not a header name.`);
}

/** A name of a field that configuration may set, add or remove. */
export function readEditableHeader(text: string): string | Refusal {
  const name = readHeaderName(text);
  if (name instanceof Refusal || !OWNED_BY_CODEC.has(name)) return name;
  const hint = name === "host" ? "use rewrite.host" : "the proxy frames messages itself";
  return new Refusal("bad_header", `The header ${name} may not be edited.`, hint);
}

/** A field value as wire text: one character per byte; what is not ASCII goes as UTF-8. No control character but tab (RFC 9110 §5.5). */
export function readHeaderValue(text: string): string | Refusal {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\0-\x08\x0a-\x1f\x7f]/.test(text)) {
    return new Refusal("bad_header", "A header value has a control character.", "CR, LF and NUL never go into a header");
  }
  if (/^[ \t]|[ \t]$/.test(text)) return new Refusal("bad_header", "A header value begins or ends with white space.");
  const wire = wireText(text);
  if (wire.length > CONFIG_LIMITS.valueBytes) {
    return new Refusal("out_of_range", `A header value is longer than ${CONFIG_LIMITS.valueBytes} bytes.`);
  }
  return wire;
}

/** UTF-8 bytes as the latin1 text that header blocks and paths hold. */
export const wireText = (text: string): string => Buffer.from(text, "utf8").toString("latin1");

function readLoggedHeader(text: string): string | Refusal {
  const name = readHeaderName(text);
  if (name instanceof Refusal || !CREDENTIALS.has(name)) return name;
  return new Refusal("bad_header", `The header ${name} carries credentials and is never logged.`);
}

export const headerName = () => textOf("header name", readHeaderName);
export const headerValue = () => textOf("header value", readHeaderValue);
export const loggedHeader = () => textOf("header name", readLoggedHeader);

/** `{name: value}`, as pairs sorted by name. Names are compared without case. */
export const headerMap = () =>
  z
    .record(z.string(), headerValue())
    .transform((map, context): (readonly [string, string])[] => {
      const pairs = new Map<string, string>();
      const fail = (key: string, { code, message, hint }: Refusal) =>
        context.issues.push({ code: "custom", input: map, path: [key], message, params: { code, hint } });
      for (const [key, value] of Object.entries(map)) {
        const name = readEditableHeader(key);
        if (name instanceof Refusal) fail(key, name);
        else if (pairs.has(name)) fail(key, new Refusal("duplicate_name", `The header ${name} is named twice.`));
        else pairs.set(name, value);
      }
      if (pairs.size > CONFIG_LIMITS.listItems) fail("", new Refusal("out_of_range", "Too many headers."));
      return [...pairs].sort(([a], [b]) => (a < b ? -1 : 1));
    })
    .meta({ title: "header: value" });

/** What a rule does to the headers of requests or answers: remove, then set, then add. */
export const headerEdit = () =>
  z.strictObject({
    set: headerMap().prefault({}).describe("Replaces every field of that name."),
    add: headerMap().prefault({}).describe("Adds a field behind those that are there."),
    remove: list(textOf("header name", readEditableHeader)).prefault([]).describe("Removes every field of that name."),
  });
