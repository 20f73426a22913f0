import { canonicalJson } from "../canonical.ts";
import type { IssuePath } from "../parse.ts";
import type { RouteConfig } from "../snapshot.ts";
import type { CompileContext } from "./context.ts";

interface Claim {
  readonly route: RouteConfig;
  readonly rule: string;
}

/** The routes that were free of conflicts last: most of them come again. */
let free: ReadonlySet<RouteConfig> = new Set();

/**
 * Refuses two rules with the identical match on the same host and gateway: which of them served would depend on their names.
 * Matches that merely overlap are fine, precedence decides.
 */
export function refuseRouteConflicts(context: CompileContext, routes: readonly RouteConfig[]): void {
  const fresh = routes.filter((each) => !free.has(each));
  // A conflict has a fresh route in it, and both routes have a host in common.
  const hosts = new Set(fresh.flatMap((each) => each.hosts));
  const concerned = fresh.length === routes.length ? routes : routes.filter((each) => each.hosts.some((host) => hosts.has(host)));
  const issues = context.issues.length;
  refuseConflicts(context, concerned);
  if (context.issues.length === issues) free = new Set(routes);
}

function refuseConflicts(context: CompileContext, routes: readonly RouteConfig[]): void {
  // By host, then by the match's JSON: both are strings that stay the same objects, so their hashes are known.
  const hosts = new Map<string, Map<string, Claim[]>>();
  for (const route of routes) {
    for (const [i, rule] of route.rules.entries()) {
      for (const [j, match] of rule.matches.entries()) {
        const own = { route, rule: rule.name };
        const text = canonicalJson(match);
        let other: Claim | undefined;
        let where = "";
        for (const host of route.hosts) {
          const found = claim(hosts, host, text, own);
          if (found === undefined || other !== undefined) continue;
          other = found;
          where = host;
        }
        if (other !== undefined) report(context, own, other, where, ["spec", "rules", i, "matches", j]);
      }
    }
  }
}

function report(context: CompileContext, own: Claim, other: Claim, host: string, path: IssuePath): void {
  const resource = context.find("Route", own.route.name);
  if (resource === undefined) return;
  const message = `Rule ${other.rule} of Route ${other.route.name} has the same match on host ${host}.`;
  context.report(resource, path, "route_conflict", message, "merge the rules, or add a condition");
}

/** Who claimed the same before, if anybody did. */
function claim(hosts: Map<string, Map<string, Claim[]>>, host: string, text: string, own: Claim): Claim | undefined {
  let claims = hosts.get(host);
  if (claims === undefined) {
    claims = new Map();
    hosts.set(host, claims);
  }
  const others = claims.get(text);
  if (others === undefined) {
    claims.set(text, [own]);
    return undefined;
  }
  const other = others.find((each) => shareGateway(each.route, own.route));
  others.push(own);
  return other;
}

function shareGateway(a: RouteConfig, b: RouteConfig): boolean {
  if (a.gateways.length === 0 || b.gateways.length === 0) return true;
  return a.gateways.some((each) => b.gateways.includes(each));
}
