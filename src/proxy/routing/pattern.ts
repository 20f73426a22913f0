import { RE2JS } from "re2js";
import { latin1Text, utf8Bytes } from "../../core/bytes.ts";

/** A regular expression written by a user: RE2 syntax, linear time, anchored at both ends. Sees wire text: one character per byte. */
export interface Pattern {
  test(text: string): boolean;
}

/** Throws an `Error` that says what is wrong with the expression. */
export function compilePattern(expression: string): Pattern {
  const compiled = RE2JS.compile(wireText(expression));
  return { test: (text) => compiled.testExact(text) };
}

/** What a configured literal looks like in a header block: UTF-8, one character per byte. */
export function wireText(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return latin1Text(utf8Bytes(text));
  return text;
}
