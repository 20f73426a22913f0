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
  /** `gateway` is the listener's `gateway`, or the listener's own `name` (then its `hosts` apply exactly). Undefined: no route (404 or 405). */
  match(gateway: string, head: RequestHead): RouteMatch | undefined;
  /**
   * After `match` found nothing: the methods that would have matched, sorted, for 405 and `Allow`; empty: 404. As flat as `match`.
   */
  allowedMethods(gateway: string, head: RequestHead): readonly string[];
  /** Why a request goes where it goes. Tests every candidate of the host: for people, not for requests. */
  explain(gateway: string, head: RequestHead): RouteExplanation;
}

/** What `selvedge routes why` shows. */
export interface RouteExplanation {
  /** The host as it was looked up: lower case, without port and trailing dot. */
  readonly host: string;
  /** False: the gateway (or its listeners' hosts) does not serve this host at all. */
  readonly served: boolean;
  readonly match: RouteMatch | undefined;
  readonly allow: readonly string[];
  /** In order of precedence, most specific first. */
  readonly candidates: readonly {
    readonly address: string;
    /** The host of the route that covers the request's. */
    readonly host: string;
    /** `prefix /a`, `GET`, `header x = 1`, in words. */
    readonly match: string;
    /** The first thing that did not match; "" when all did. */
    readonly mismatch: string;
  }[];
}
