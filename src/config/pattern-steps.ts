import { RE2JS } from "re2js";
import { CONFIG_LIMITS } from "../core/limits.ts";
import { buildPatternTable } from "./pattern-table.ts";
import type { RouteConfig } from "./snapshot.ts";

/** What an expression takes, and why it is refused; "" when it is not. */
export interface PatternCheck {
  readonly steps: number;
  readonly refusal: string;
}

/** Looked at before, by expression: one that is applied, stored and compiled is worked out once. Made empty when it is full. */
const known = new Map<string, PatternCheck>();
/** Steps that the text being read may still take. */
let left: number = CONFIG_LIMITS.regexStepsTotal;

/** A text of configuration begins: what its expressions may take together counts from here. */
export function allowPatternSteps(steps: number = CONFIG_LIMITS.regexStepsTotal): void {
  left = steps;
}

/** Undefined: not looked at, because those in front of it took all there is. Throws the engine's `Error` when it is no expression. */
export function checkPattern(expression: string): PatternCheck | undefined {
  const before = known.get(expression);
  if (before !== undefined) return before;
  if (left <= 0) return undefined;
  const built = buildPatternTable(RE2JS, expression);
  left -= built.steps;
  const check = { steps: built.steps, refusal: "message" in built ? built.message : "" };
  if (known.size >= CONFIG_LIMITS.regexesRemembered) known.clear();
  known.set(expression, check);
  return check;
}

const ofRoutes = new WeakMap<RouteConfig, ReadonlyMap<string, number>>();

/** The expressions of a route, with the steps that each takes. */
export function patternStepsOf(route: RouteConfig): ReadonlyMap<string, number> {
  const before = ofRoutes.get(route);
  if (before !== undefined) return before;
  const steps = new Map<string, number>();
  for (const { matches } of route.rules) {
    for (const { path, headers, query } of matches) {
      for (const each of [path, ...headers, ...query]) if (each.kind === "regex") steps.set(each.value, stepsOf(each.value));
    }
  }
  ofRoutes.set(route, steps);
  return steps;
}

/** It was read and found good, so it is known or has its table: what one text may take does not matter here. */
function stepsOf(expression: string): number {
  return known.get(expression)?.steps ?? buildPatternTable(RE2JS, expression).steps;
}
