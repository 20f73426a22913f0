import type { RE2JS } from "re2js";
import { buildPatternTable, matchesTable, type PatternTable, wireText } from "../../config/pattern-table.ts";
import { assert } from "../../core/assert.ts";
import { CONFIG_LIMITS, ROUTING_LIMITS } from "../../core/limits.ts";

export { wireText };

/** A regular expression written by a user: RE2 syntax, linear time, anchored at both ends. Sees wire text: one character per byte. */
export interface Pattern {
  test(text: string): boolean;
}

let engine: typeof RE2JS | undefined;

/** Loads what `compilePattern` needs. It takes 9 MB, which a proxy without expressions saves. */
export async function loadPatternEngine(): Promise<void> {
  engine ??= (await import("re2js")).RE2JS;
}

/** What the expressions may still look at for the request in question; matching never waits, so there is one. */
let left = 0;

/** A request comes: its expressions may look at `ROUTING_LIMITS.patternBytes` together. */
export function allowPatterns(): void {
  left = ROUTING_LIMITS.patternBytes;
}

/** They had more to look at than they may: what was found since is not to be trusted. */
export const patternsExhausted = (): boolean => left < 0;

/** What one text costs besides its bytes. */
const TEXT_BYTES = 16;

/** Throws an `Error` that says what is wrong with the expression. `loadPatternEngine` was awaited before. */
export function compilePattern(expression: string): Pattern {
  const table = made.get(expression) ?? makeTable(expression);
  return { test: (text) => isAllowed(text) && matchesTable(table, text) };
}

/** Of this configuration and those before: what one of them had, and others share, is not made again. */
const made = new Map<string, PatternTable>();
let madeSteps = 0;
const KEPT_STEPS = 2 * CONFIG_LIMITS.regexStepsTotal;

function makeTable(expression: string): PatternTable {
  assert(engine !== undefined, "the engine of expressions is loaded");
  const table = buildPatternTable(engine, expression);
  if ("message" in table) throw new Error(`the regular expression is too large: ${table.message}`);
  madeSteps += table.steps;
  if (madeSteps > KEPT_STEPS) {
    made.clear();
    madeSteps = table.steps;
  }
  made.set(expression, table);
  return table;
}

function isAllowed(text: string): boolean {
  left -= text.length + TEXT_BYTES;
  return left >= 0;
}
