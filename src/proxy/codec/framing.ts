import { Failure } from "../../core/failure.ts";
import { isAll, TOKEN } from "./chars.ts";

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
 * The one coding there is: exactly one field, exactly `chunked`, in HTTP/1.1, without Content-Length (RFC 9112 §6.1, stricter:
 * what a proxy MAY repair is refused here, because repair is where parsers differ). Undefined: as it must be.
 */
export function checkCoding(fields: FramingFields, version: number): Failure | undefined {
  if (fields.contentLength >= 0) return new Failure("bad_framing", "Content-Length and Transfer-Encoding");
  if (version === 10) return new Failure("bad_framing", "Transfer-Encoding in HTTP/1.0");
  if (fields.codings > 1) return new Failure("bad_framing", "two Transfer-Encoding");
  const coding = fields.coding.toLowerCase();
  if (coding === "chunked") return undefined;
  // A well-formed single coding that we do not have is a fair question; anything near `chunked` is an attempt to be misread.
  if (isAll(coding, TOKEN) && !coding.includes("chunked")) return new Failure("coding_not_implemented", "transfer coding");
  return new Failure("bad_framing", "Transfer-Encoding is not exactly chunked");
}
