/**
 * The grammar of RFC 9110 and RFC 9112 as tables by byte. 1: allowed. Whoever reads or writes wire bytes asks these and
 * nothing else.
 */

/** A table that allows the characters of the texts and the ranges `[from, to]`. */
function tableOf(text: string, ...ranges: readonly (readonly [number, number])[]): Uint8Array {
  const table = new Uint8Array(256);
  for (const [from, to] of ranges) table.fill(1, from, to + 1);
  for (let i = 0; i < text.length; i++) table[text.charCodeAt(i)] = 1;
  return table;
}

const DIGITS = [0x30, 0x39] as const;
const UPPER = [0x41, 0x5a] as const;
const LOWER = [0x61, 0x7a] as const;

/** tchar (RFC 9110 §5.6.2). */
export const TOKEN = tableOf("!#$%&'*+-.^_`|~", DIGITS, UPPER, LOWER);
/** Methods: tchar without lower case. A method that only an upstream's case-folding makes a `DELETE` must not pass a policy. */
export const METHOD = tableOf("!#$%&'*+-.^_`|~", DIGITS, UPPER);
/** field-vchar, SP, HTAB (RFC 9110 §5.5); obs-text passes, as bytes. */
export const VALUE = tableOf("\t", [0x20, 0x7e], [0x80, 0xff]);
/** Names of fields as we write them: tchar without upper case, so that no spelling of a framing field escapes its look-up. */
export const FIELD_NAME = tableOf("!#$%&'*+-.^_`|~", DIGITS, LOWER);
/**
 * Raw characters of a path. 1: pchar (RFC 3986 §3.3) without `%`, and `/`: kept. 2: visible ASCII that is no pchar, but that
 * browsers send raw: percent-encoded, so that both spellings are one. 0: refused.
 */
export const PATH = tableOf("-._~!$&'()*+,;=:@/", DIGITS, UPPER, LOWER);
for (const char of '"<>[]^`{|}') PATH[char.charCodeAt(0)] = 2;
/** Bytes behind a percent in a path. 2: unreserved (RFC 3986 §2.3): decoded. 1: kept encoded. 0: controls, refused. */
export const ENCODED = tableOf("", [0x20, 0x7e], [0x80, 0xff]);
for (const [from, to] of [DIGITS, UPPER, LOWER]) ENCODED.fill(2, from, to + 1);
for (const char of "-._~") ENCODED[char.charCodeAt(0)] = 2;
/** Bytes of a path as we write it: normalised, so pchar and `/`. */
export const WIRE_PATH = tableOf("-._~!$&'()*+,;=:@/%", DIGITS, UPPER, LOWER);
/** Bytes of a query: visible ASCII but `#`. */
export const QUERY = tableOf("", [0x21, 0x22], [0x24, 0x7e]);
/** Characters of a host name as we take it: no percent-encoding, no sub-delims. */
export const HOST_NAME = tableOf("-._", DIGITS, UPPER, LOWER);
/** Characters of an authority as we write it: nothing that could end the line, start a path or name a user. */
export const AUTHORITY = tableOf("-._~:[]", DIGITS, UPPER, LOWER);
/** qdtext (RFC 9110 §5.6.4). */
export const QUOTED = tableOf("\t ", [0x21, 0x21], [0x23, 0x5b], [0x5d, 0x7e], [0x80, 0xff]);

/** Value of a hex digit, or 255. */
export const HEX = new Uint8Array(256).fill(255);
for (let i = 0; i < 10; i++) HEX[0x30 + i] = i;
for (let i = 0; i < 6; i++) {
  HEX[0x41 + i] = 10 + i;
  HEX[0x61 + i] = 10 + i;
}

export const CR = 0x0d;
export const LF = 0x0a;
export const SP = 0x20;
export const HTAB = 0x09;

/** Every character is in the table, and there is one. */
export function isAll(text: string, table: Uint8Array): boolean {
  for (let i = 0; i < text.length; i++) if (table[text.charCodeAt(i)] !== 1) return false;
  return text.length > 0;
}

/** Are `bytes[start, end)` this text? */
export function isText(bytes: Uint8Array, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false;
  return true;
}
