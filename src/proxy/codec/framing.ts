import { Failure } from "../../core/failure.ts";
import { isAll, TOKEN } from "./chars.ts";
import { trimSpace } from "./connection.ts";

/** How a body ends. */
export type BodyKind = "none" | "length" | "chunked" | "close";

/** What framing needs of a head's fields. */
export interface FramingFields {
  readonly contentLength: number;
  readonly codings: number;
  readonly coding: string;
}

/**
 * Value of a Content-Length: decimal digits only, no sign, no list, no leading zero (octal to some), at most 2^53 - 1.
 * -1: malformed.
 */
export function parseContentLength(value: string): number {
  if (value.length === 0 || value.length > 16) return -1;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    length = length * 10 + digit;
  }
  if (length > Number.MAX_SAFE_INTEGER) return -1;
  if (value.length > 1 && value.charCodeAt(0) === 0x30) return -1;
  return length;
}

/**
 * The one framing there is: exactly one field, exactly `chunked`, in HTTP/1.1, without Content-Length (RFC 9112 §6.1, stricter:
 * what a proxy MAY repair is refused here, because repair is where parsers differ). Undefined: as it must be.
 *
 * What is refused is told apart by whether the end of the body is known. It is when `chunked` comes last, once: the codings before it
 * are a fair wish that we do not have (§6.1: 501). It is not when anything else comes last (§6.3: 400), when two parsers could
 * see two lists, or when a name only looks like `chunked`. From an upstream both are a broken answer: nobody asked it for a coding.
 */
export function checkCoding(fields: FramingFields, version: number): Failure | undefined {
  if (fields.contentLength >= 0) return new Failure("bad_framing", "Content-Length and Transfer-Encoding");
  if (version === 10) return new Failure("bad_framing", "Transfer-Encoding in HTTP/1.0");
  // One list by the grammar (RFC 9110 §5.3), but some read the first field only and some the last.
  if (fields.codings > 1) return new Failure("bad_framing", "two Transfer-Encoding");
  const coding = fields.coding.toLowerCase();
  if (coding === "chunked") return undefined;
  if (endsInChunked(coding)) return new Failure("coding_not_implemented", "a transfer coding before chunked");
  return new Failure("bad_framing", "Transfer-Encoding is not exactly chunked");
}

/** `gzip, chunked` and its like: well-formed codings, then `chunked`. No empty members: to some they end the list. */
function endsInChunked(list: string): boolean {
  const members = list.split(",").map(trimSpace);
  if (members.pop() !== "chunked") return false;
  for (const member of members) if (!isOtherCoding(member)) return false;
  return true;
}

/**
 * `token *( OWS ";" OWS token "=" token )` (RFC 9112 §7), and no name near `chunked`. Quoted values, which may hold commas, and white
 * space around `=` are refused: whoever splits at commas sees another list.
 */
function isOtherCoding(member: string): boolean {
  const [name = "", ...parameters] = member.split(";").map(trimSpace);
  if (!isAll(name, TOKEN) || name.includes("chunked")) return false;
  for (const parameter of parameters) {
    const equals = parameter.indexOf("=");
    if (!isAll(parameter.substring(0, equals), TOKEN)) return false;
    if (!isAll(parameter.substring(equals + 1), TOKEN)) return false;
  }
  return true;
}
