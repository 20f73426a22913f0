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
export function parseShallowJson(text: string, most: number): unknown {
  if (isNestedDeeper(text, most)) throw new SyntaxError(`nested deeper than ${most}`);
  return JSON.parse(text);
}

/** Whether brackets and braces of a text in JSON stand deeper in each other than `most`. */
export function isNestedDeeper(text: string, most: number): boolean {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inText) {
      if (code === BACKSLASH) i++;
      else if (code === QUOTE) inText = false;
    } else if (code === QUOTE) inText = true;
    else if (code === 0x5b || code === 0x7b) {
      if (++depth > most) return true;
    } else if (code === 0x5d || code === 0x7d) depth--;
  }
  return false;
}
