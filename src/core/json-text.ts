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
