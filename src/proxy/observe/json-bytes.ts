import { jsonText } from "../../core/json-text.ts";
import type { ByteWriter } from "../../core/writer.ts";

/** JSON written as bytes: no text is made of it that would have to be encoded, and collected, afterwards. */

/** Printable ASCII without quote and backslash. */
const PLAIN = new Uint8Array(128).fill(1, 0x20, 0x7f);
for (const char of '"\\') PLAIN[char.charCodeAt(0)] = 0;

/**
 * A quoted string, as `jsonText` writes it. Texts of plain characters, as nearly all are, are copied while they are looked at; any
 * other is left to `jsonText`.
 */
export function putString(out: ByteWriter, text: string): void {
  out.reserve(text.length + 2);
  const { buffer } = out;
  let at = out.length;
  buffer[at++] = 0x22;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (PLAIN[code] !== 1) {
      out.utf8(jsonText(text));
      return;
    }
    buffer[at++] = code;
  }
  buffer[at++] = 0x22;
  out.length = at;
}

const DIGITS_MAX = 10;

/** Above it a number is no 32-bit integer, and dividing takes several times as long. */
const SMALL_MAX = 0x7fff_ffff;

/** A whole number from 0 to 2^53 - 1. */
export function putNumber(out: ByteWriter, value: number): void {
  if (value > SMALL_MAX) {
    out.text(String(value));
    return;
  }
  out.reserve(DIGITS_MAX);
  let digits = 1;
  for (let rest = value | 0; rest >= 10; rest = (rest / 10) | 0) digits++;
  const { buffer } = out;
  let at = out.length + digits;
  out.length = at;
  let rest = value | 0;
  do {
    const tens = (rest / 10) | 0;
    buffer[--at] = 0x30 + (rest - tens * 10);
    rest = tens;
  } while (rest > 0);
}
