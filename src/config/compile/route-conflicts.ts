import { canonicalJson } from "../canonical.ts";
import type { RouteConfig } from "../snapshot.ts";
import type { CompileContext } from "./context.ts";

interface Claim {
  readonly route: RouteConfig;
  readonly rule: string;
}

/**
 * Refuses two rules with the identical match on the same host and gateway: which of them served would depend on their names.
 * Matches that merely overlap are fine, precedence decides.
 */
export function refuseRouteConflicts(context: CompileContext, routes: readonly RouteConfig[]): void {
  // By host, then by the match's JSON: both are strings that stay the same objects, so their hashes are known.
  const hosts = new Map<string, Map<string, Claim[]>>();
  for (const route of routes) {
    for (const [i, rule] of route.rules.entries()) {
      for (const [j, match] of rule.matches.entries()) {
        const text = canonicalJson(match);
        const conflicts = route.hosts.map((host) => claim(hosts, host, text, { route, rule: rule.name }));
        const at = conflicts.findIndex((each) => each !== undefined);
        const other = conflicts[at];
        const resource = other === undefined ? undefined : context.find("Route", route.name);
        if (other === undefined || resource === undefined) continue;
        const message = `Rule ${other.rule} of Route ${other.route.name} has the same match on host ${route.hosts[at]}.`;
        context.report(
          resource,
          ["spec", "rules", i, "matches", j],
          "route_conflict",
          message,
          "merge the rules, or add a condition",
        );
      }
    }
  }
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
