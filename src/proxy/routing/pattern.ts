import type { RE2JS } from "re2js";
import { assert } from "../../core/assert.ts";
import { latin1Text, utf8Bytes } from "../../core/bytes.ts";

/** A regular expression written by a user: RE2 syntax, linear time, anchored at both ends. Sees wire text: one character per byte. */
export interface Pattern {
  test(text: string): boolean;
}

let engine: typeof RE2JS | undefined;

/** Loads what `compilePattern` needs. It takes 9 MB, which a proxy without expressions saves. */
export async function loadPatternEngine(): Promise<void> {
  engine ??= (await import("re2js")).RE2JS;
}

/** Throws an `Error` that says what is wrong with the expression. `loadPatternEngine` was awaited before. */
export function compilePattern(expression: string): Pattern {
  assert(engine !== undefined, "the engine of expressions is loaded");
  const compiled = engine.compile(wireText(expression));
  return { test: (text) => compiled.testExact(text) };
}

/** What a configured literal looks like in a header block: UTF-8, one character per byte. */
export function wireText(text: string): string {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return latin1Text(utf8Bytes(text));
  return text;
}
