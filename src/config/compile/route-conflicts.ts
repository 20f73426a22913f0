import { canonicalJson } from "../canonical.ts";
import type { RouteConfig } from "../snapshot.ts";
import { type CompileContext, fullName } from "./context.ts";

interface Claim {
  readonly route: RouteConfig;
  readonly rule: string;
}

/**
 * Refuses two rules with the identical match on the same host and gateway: which of them served would depend on their names.
 * Matches that merely overlap are fine, precedence decides.
 */
export function refuseRouteConflicts(context: CompileContext, routes: readonly RouteConfig[]): void {
  const resources = new Map(context.ofKind("Route").map((each) => [fullName(each), each]));
  const claims = new Map<string, Claim[]>();
  for (const route of routes) {
    for (const [i, rule] of route.rules.entries()) {
      for (const [j, match] of rule.matches.entries()) {
        const text = canonicalJson(match);
        for (const host of route.hosts) {
          const key = `${host} ${text}`;
          const others = claims.get(key);
          if (others === undefined) {
            claims.set(key, [{ route, rule: rule.name }]);
            continue;
          }
          const other = others.find((each) => shareGateway(each.route, route));
          others.push({ route, rule: rule.name });
          const resource = resources.get(route.name);
          if (other === undefined || resource === undefined) continue;
          const message = `Rule ${other.rule} of Route ${other.route.name} has the same match on host ${host}.`;
          context.report(
            resource,
            ["spec", "rules", i, "matches", j],
            "route_conflict",
            message,
            "merge the rules, or add a condition",
          );
          break;
        }
      }
    }
  }
}

function shareGateway(a: RouteConfig, b: RouteConfig): boolean {
  if (a.gateways.length === 0 || b.gateways.length === 0) return true;
  return a.gateways.some((each) => b.gateways.includes(each));
}
