import type { ByteWriter } from "../../core/writer.ts";

/** JSON written as bytes: no text is made of it that would have to be encoded, and collected, afterwards. */

/**
 * A quoted string, as `JSON.stringify` writes it. Printable ASCII without quote and backslash, as nearly all texts are, is copied
 * while it is looked at; anything else is left to `JSON.stringify`.
 */
export function putString(out: ByteWriter, text: string): void {
  out.reserve(text.length + 2);
  const { buffer } = out;
  let at = out.length;
  buffer[at++] = 0x22;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) {
      out.utf8(JSON.stringify(text));
      return;
    }
    buffer[at++] = code;
  }
  buffer[at++] = 0x22;
  out.length = at;
}

const DIGITS_MAX = 16;

/** A whole number from 0 to 2^53 - 1. */
export function putNumber(out: ByteWriter, value: number): void {
  out.reserve(DIGITS_MAX);
  let digits = 1;
  for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  let at = out.length + digits;
  out.length = at;
  let rest = value;
  do {
    const tens = Math.floor(rest / 10);
    out.buffer[--at] = 0x30 + (rest - tens * 10);
    rest = tens;
  } while (rest > 0);
}
