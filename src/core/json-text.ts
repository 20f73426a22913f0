import { CONFIG_LIMITS } from "./limits.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What `JSON.stringify` leaves as it is: DEL and the control characters above, line separators, what turns the direction of text around. */
const UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/**
 * JSON that can be shown on a terminal whoever wrote the texts in it: as `JSON.stringify` makes it, with escapes for everything that would
 * command the terminal or make text look like another. It reads back as the same value. `indent`: spaces a level; default: one line.
 */
export function jsonText(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(
    UNSAFE,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * `JSON.parse` for what strangers wrote: a megabyte of opening brackets takes an engine a quarter of a second, so what is nested deeper
 * than `most` is refused before. Throws a `SyntaxError`.
 */
export function parseShallowJson(text: string, most: number = CONFIG_LIMITS.depth): unknown {
  if (isNestedDeeper(text, most)) throw new SyntaxError(`nested deeper than ${most}`);
  return JSON.parse(text);
}

/** Whether brackets and braces of a text in JSON stand deeper in each other than `most`. */
export function isNestedDeeper(text: string, most: number): boolean {
  // What callers say most often is short.
  if (text.length <= most) return false;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) i = endOfText(text, i);
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > most) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}

/** Where the text that opens at `from` closes; it may be a whole body. */
function endOfText(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at >= 0; at = text.indexOf('"', at + 1)) {
    let escapes = at;
    while (text.charCodeAt(escapes - 1) === BACKSLASH) escapes--;
    if ((at - escapes) % 2 === 0) return at;
  }
  return text.length;
}
