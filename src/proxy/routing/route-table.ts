import type { RouteConfig } from "../../config/snapshot.ts";
import type { RequestHead } from "../../core/head.ts";
import type { CompiledRoute } from "./candidate.ts";
import { explainMatch } from "./explain.ts";
import { type HostMap, hostKey } from "./host.ts";
import type { MatchIndex } from "./match-index.ts";
import { allowPatterns, patternsExhausted } from "./pattern.ts";
import type { RouteExplanation, RouteMatch, Router } from "./router.ts";
import { MatchContext } from "./terms.ts";

/** What one listener (or gateway) may serve. */
export interface Scope {
  readonly gateway: string;
  readonly index: MatchIndex;
  /** Undefined: every host. */
  readonly hosts: HostMap<true> | undefined;
}

/**
 * The router: host first (exact, then the longest wildcard, then `*`), then the host's records. When the most specific host has no
 * match, the next one is asked: a route for `shop.example.org/cart` does not hide what `*.example.org` serves elsewhere.
 * Within a host: see MatchIndex and `compareConditions`. Listeners' hosts bound what is served at all, they do not rank.
 */
export class RouteTable implements Router {
  readonly #context = new MatchContext();
  /** The scope that was asked last: nearly always the next as well. */
  #lastGateway: string | undefined;
  #lastScope: Scope | undefined;

  constructor(
    /** Sorted by name. What `routes` were compiled from: a list of its own, so that comparing lists touches no route. */
    readonly configs: readonly RouteConfig[],
    readonly routes: readonly CompiledRoute[],
    /** By gateway that routes name; "" for all other gateways. */
    readonly indexes: ReadonlyMap<string, MatchIndex>,
    readonly scopes: ReadonlyMap<string, Scope>,
  ) {}

  match(gateway: string, head: RequestHead): RouteMatch | undefined {
    if (gateway !== this.#lastGateway) {
      this.#lastGateway = gateway;
      this.#lastScope = this.scopes.get(gateway);
    }
    const scope = this.#lastScope;
    if (scope === undefined) return undefined;
    const context = this.#context;
    context.query.reset(head.query);
    return findInScope(scope, head, context);
  }

  allowedMethods(gateway: string, head: RequestHead): readonly string[] {
    const scope = this.scopes.get(gateway);
    if (scope === undefined) return [];
    const context = this.#context;
    context.query.reset(head.query);
    const allow = new Set<string>();
    context.allow = allow;
    try {
      findInScope(scope, head, context);
    } finally {
      context.allow = undefined;
    }
    return patternsExhausted() ? [] : [...allow].sort();
  }

  explain(gateway: string, head: RequestHead): RouteExplanation {
    const match = this.match(gateway, head);
    const allow = match === undefined ? this.allowedMethods(gateway, head) : [];
    return explainMatch(this.routes, this.scopes.get(gateway), head, match, allow);
  }
}

function findInScope({ index, hosts }: Scope, head: RequestHead, context: MatchContext): RouteMatch | undefined {
  if (hosts !== undefined && !hosts.covers(hostKey(head.authority))) return undefined;
  allowPatterns();
  const found = index.match(head, context);
  return patternsExhausted() ? undefined : found;
}
