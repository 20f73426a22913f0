import type { HeaderBlock, RequestHead, ResponseHead } from "../../core/head.ts";
import { targetOf } from "../../core/head.ts";
import { InternTable } from "./interned.ts";
import type { GuestMemory } from "./memory.ts";

/**
 * What a filter may write into messages. A filter is not trusted to keep messages well-formed: what could split or smuggle
 * a message (security classes 1, 6, 9, 12) is refused here, whatever codec writes it later.
 */

/** Only who sends the body can say that it waits to be asked for it (RFC 9110 §10.1.1). */
const EXPECT = "expect";
/** Framing and connection fields belong to the codecs (RFC 9110 §7.6.1). */
const FRAMING = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer", EXPECT]);

/** A lower-case field name that may be written: a token (RFC 9110 §5.1) that is not about framing. */
export function isWritableName(name: string): boolean {
  // Guests write the same few names; the newest one of each length is remembered.
  const slot = name.length & (WRITABLE_SLOTS - 1);
  if (lastWritable[slot] === name) return true;
  if (!isToken(name) || FRAMING.has(name)) return false;
  lastWritable[slot] = name;
  return true;
}

const WRITABLE_SLOTS = 32;
const lastWritable = new Array<string | undefined>(WRITABLE_SLOTS).fill(undefined);

/** No CR, LF or NUL, and no blank at either end (RFC 9110 §5.5). */
export function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    if (code === 0x0d || code === 0x0a || code === 0) return false;
  }
  return true;
}

/** A field that may be written as it is; `content-length` must be a plain number. */
export function isWritableField(name: string, value: string): boolean {
  if (!isWritableName(name) || !isFieldValue(value)) return false;
  return name !== "content-length" || isDigits(value);
}

const names = new InternTable<string>(lowerName);

/** A field's name out of the guest's memory, lower case. Check the range with `has` first. */
export function readName(memory: GuestMemory, at: number, size: number): string {
  memory.work.text(size >>> 0);
  return names.find(memory.words, memory.bytes, at >>> 0, size >>> 0);
}

/** Longer values are cheaper to make than to compare. Bytes. */
const KNOWN_VALUE_MAX = 64;
const lastAnswerValues = new Array<string>(WRITABLE_SLOTS).fill("");

/**
 * A value for a field of an answer out of the guest's memory. Filters set the same values again and again, and comparing costs
 * a third of making a text. Check the range with `has` first.
 */
export function readAnswerValue(memory: GuestMemory, name: string, at: number, size: number): string {
  if (size >>> 0 > KNOWN_VALUE_MAX) return memory.latin1(at, size);
  const slot = name.length & (WRITABLE_SLOTS - 1);
  const known = lastAnswerValues[slot] as string;
  if (memory.isText(at, size, known)) return known;
  const value = memory.latin1(at, size);
  lastAnswerValues[slot] = value;
  return value;
}

/** A guest's name for a field, in the lower case that header blocks use. */
export function lowerName(name: string): string {
  for (let i = 0; i < name.length; i++) {
    const code = name.charCodeAt(i);
    if (code >= 0x41 && code <= 0x5a) return name.toLowerCase();
  }
  return name;
}

/** tchar of RFC 9110 §5.6.2, by code. */
const TOKEN = new Uint8Array(256);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") TOKEN[char.charCodeAt(0)] = 1;

function isToken(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (TOKEN[text.charCodeAt(i)] !== 1) return false;
  return text.length > 0;
}

function isDigits(text: string): boolean {
  if (text.length === 0 || text.length > 15) return false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x30 || code > 0x39) return false;
  }
  return true;
}

/** Visible ASCII except those in `without`. */
function isVisible(text: string, without: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || without.includes(text[i] as string)) return false;
  }
  return text.length > 0;
}

export const REQUEST_PSEUDO_NAMES = [":authority", ":path", ":method", ":scheme"] as const;

/** A pseudo header of a request; `host` is another name of `:authority`, as in Envoy. Undefined: no such. */
export function readRequestPseudo(head: RequestHead, name: string): string | undefined {
  switch (name) {
    case ":path":
      return targetOf(head);
    case ":method":
      return head.method;
    case ":authority":
    case "host":
      return head.authority;
    case ":scheme":
      return head.scheme;
    default:
      return undefined;
  }
}

/** What `writeRequestPseudo` did. `target`: method, path or authority changed, so they must be checked and normalised again. */
export type PseudoWrite = "refused" | "done" | "target";

export function writeRequestPseudo(head: RequestHead, name: string, value: string): PseudoWrite {
  switch (name) {
    case ":path": {
      // Only normalisation may judge what is in a path; what no request line can carry is refused at once.
      if (!value.startsWith("/") || !isVisible(value, "#")) return "refused";
      const mark = value.indexOf("?");
      head.path = mark < 0 ? value : value.slice(0, mark);
      head.query = mark < 0 ? undefined : value.slice(mark + 1);
      return "target";
    }
    case ":method":
      if (!isToken(value) || value === "CONNECT") return "refused";
      head.method = value;
      return "target";
    case ":authority":
    case "host":
      if (!isVisible(value, "@/?#\\,")) return "refused";
      head.authority = value.toLowerCase();
      return "target";
    case ":scheme":
      if (value !== "http" && value !== "https") return "refused";
      head.scheme = value;
      return "done";
    default:
      return "refused";
  }
}

/** A final status that a filter may set; undefined: refused. */
export function parseStatus(text: string): number | undefined {
  if (text.length !== 3 || !isDigits(text)) return undefined;
  const status = Number(text);
  return status >= 200 && status <= 599 ? status : undefined;
}

export function writeStatus(head: ResponseHead, value: string): boolean {
  const status = parseStatus(value);
  if (status === undefined) return false;
  if (head.status !== status) head.reason = "";
  head.status = status;
  return true;
}

/** Replaces all fields of a block by those of the pairs that may be written; pseudo headers are left to the caller, and whoever sends the body goes on waiting. */
export function replaceBlock(block: HeaderBlock, names: readonly string[], values: readonly string[]): void {
  for (let i = block.length - 1; i >= 0; i--) if (block.names[i] !== EXPECT) block.removeAt(i);
  for (let i = 0; i < names.length; i++) {
    const name = lowerName(names[i] as string);
    if (isWritableField(name, values[i] as string)) block.add(name, values[i] as string);
  }
}
