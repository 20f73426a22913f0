const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const FIRST_PRINTABLE = 0x20;
const FIRST_SURROGATE = 0xd800;
const LAST_SURROGATE = 0xdfff;

/**
 * A text as a JSON string literal with its quotes, the same as `JSON.stringify(text)` for every string: texts in which nothing
 * needs escaping (nearly all) are only looked at. What a peer sent can therefore never end a field or a line.
 */
export function jsonString(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < FIRST_PRINTABLE || code === QUOTE || code === BACKSLASH || (code >= FIRST_SURROGATE && code <= LAST_SURROGATE))
      return JSON.stringify(text);
  }
  return `"${text}"`;
}
