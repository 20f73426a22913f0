import type { RequestHead } from "../../core/head.ts";
import type { CompiledRoute } from "./candidate.ts";
import { explainMatch } from "./explain.ts";
import { type HostMap, hostKey } from "./host.ts";
import { type HostTable, MatchContext } from "./host-table.ts";
import type { RouteExplanation, RouteMatch, Router } from "./router.ts";

/** The tables of all hosts that one class of gateways serves. */
export type HostIndex = HostMap<HostTable>;

/** What one listener (or gateway) may serve. */
export interface Scope {
  readonly index: HostIndex;
  /** Undefined: every host. */
  readonly hosts: HostMap<true> | undefined;
}

/**
 * The router: host first (exact, then the longest wildcard, then `*`), then the host's table. When the most specific host has no
 * match, the next one is asked: a route for `shop.example.org/cart` does not hide what `*.example.org` serves elsewhere.
 * Within a host: see HostTable and `compareConditions`. Listeners' hosts bound what is served at all, they do not rank.
 */
export class RouteTable implements Router {
  readonly #context = new MatchContext();

  constructor(
    /** Sorted by name. */
    readonly routes: readonly CompiledRoute[],
    /** By gateway that routes name; "" for all other gateways. */
    readonly indexes: ReadonlyMap<string, HostIndex>,
    readonly scopes: ReadonlyMap<string, Scope>,
  ) {}

  match(gateway: string, head: RequestHead): RouteMatch | undefined {
    const scope = this.scopes.get(gateway);
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
    return [...allow].sort();
  }

  explain(gateway: string, head: RequestHead): RouteExplanation {
    const match = this.match(gateway, head);
    const allow = match === undefined ? this.allowedMethods(gateway, head) : [];
    return explainMatch(this.scopes.get(gateway), head, match, allow);
  }
}

function findInScope(scope: Scope, head: RequestHead, context: MatchContext): RouteMatch | undefined {
  const { index } = scope;
  const { authority } = head;
  // Keys are bare hosts, so an authority that is a key needs no work: the usual case.
  let table = index.exact.get(authority);
  let host = authority;
  if (table === undefined || scope.hosts !== undefined) {
    host = hostKey(authority);
    if (scope.hosts !== undefined && !scope.hosts.covers(host)) return undefined;
    table ??= index.exact.get(host);
  }
  let found = table?.find(head, context);
  if (found !== undefined) return found;
  if (index.hasWildcards) {
    // A table was found under `authority` itself only if that is a host already.
    for (let at = index.nextWild(host, 0); at >= 0; at = index.nextWild(host, at)) {
      found = index.wildAt(host, at)?.find(head, context);
      if (found !== undefined) return found;
    }
  }
  return index.any?.find(head, context);
}
