import type { RouteConfig, RuleConfig } from "../../config/snapshot.ts";
import type { RequestHead } from "../../core/head.ts";

/** What a request matched. Cached per rule: a match without template variables allocates nothing. */
export interface RouteMatch {
  readonly route: RouteConfig;
  readonly rule: RuleConfig;
  /** `Route default/shop rule 0`, for failures and logs. */
  readonly address: string;
  /** The matched prefix, for prefix rewrites; "" for other kinds. */
  readonly matchedPrefix: string;
  /** Variables of a template match in order of appearance; empty for other kinds. */
  readonly variables: readonly (readonly [string, string])[];
}

/** Finds the rule for a request. Built once per generation; matching is synchronous and flat in the number of routes. */
export interface Router {
  /** `gateway` is the listener's. Undefined: no route (404). */
  match(gateway: string, head: RequestHead): RouteMatch | undefined;
}
