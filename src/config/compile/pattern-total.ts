import { CONFIG_LIMITS } from "../../core/limits.ts";
import { patternStepsOf } from "../pattern-steps.ts";
import type { RouteConfig } from "../snapshot.ts";
import type { CompileContext } from "./context.ts";

/**
 * Every worker makes the tables of all expressions, each once, and keeps them: together they are bounded too, so that this takes a second at
 * most. The first route beyond is named.
 */
export function refuseTooManySteps(
  context: CompileContext,
  routes: readonly RouteConfig[],
  max: number = CONFIG_LIMITS.regexStepsTotal,
): void {
  const seen = new Set<string>();
  let steps = 0;
  for (const route of routes) {
    for (const [expression, each] of patternStepsOf(route)) {
      if (!seen.has(expression)) steps += each;
      seen.add(expression);
    }
    if (steps <= max) continue;
    const resource = context.find("Route", route.name);
    if (resource === undefined) return;
    const message = `The regular expressions up to this route take more than ${max} steps to make tables of, all together.`;
    context.report(resource, ["spec", "rules"], "bad_regex", message, "make them simpler, or match with prefixes and templates");
    return;
  }
}
