import { canonicalJson } from "../canonical.ts";
import type { IssuePath } from "../parse.ts";
import type { RouteResource } from "../schema/index.ts";
import type { RouteConfig } from "../snapshot.ts";
import type { CompileContext } from "./context.ts";

interface Claim {
  readonly route: RouteConfig;
  readonly rule: string;
}

/** What all routes of a configuration claim, when no two claim the same: finds out fast whether a change keeps it so. */
export class ClaimIndex {
  /** By host, then by the match's JSON: both are strings that stay the same objects, so their hashes are known. */
  readonly #hosts = new Map<string, Map<string, RouteConfig[]>>();

  /** False when two rules would claim the same; then nothing has changed. */
  replace(removed: readonly RouteConfig[], added: readonly RouteConfig[]): boolean {
    for (const route of removed) this.#remove(route);
    for (const [i, route] of added.entries()) {
      if (this.#add(route)) continue;
      for (const each of added.slice(0, i + 1)) this.#remove(each);
      for (const each of removed) this.#add(each);
      return false;
    }
    return true;
  }

  #add(route: RouteConfig): boolean {
    let free = true;
    eachClaim(route, (host, match) => {
      const claims = this.#claimsOn(host);
      const others = claims.get(match);
      if (others === undefined) claims.set(match, [route]);
      else {
        free &&= !others.some((other) => shareGateway(other, route));
        others.push(route);
      }
    });
    return free;
  }

  #remove(route: RouteConfig): void {
    eachClaim(route, (host, match) => {
      const claims = this.#claimsOn(host);
      const others = claims.get(match) ?? [];
      const at = others.indexOf(route);
      if (at >= 0) others.splice(at, 1);
      if (others.length === 0) claims.delete(match);
      if (claims.size === 0) this.#hosts.delete(host);
    });
  }

  #claimsOn(host: string): Map<string, RouteConfig[]> {
    let claims = this.#hosts.get(host);
    if (claims === undefined) {
      claims = new Map();
      this.#hosts.set(host, claims);
    }
    return claims;
  }
}

function eachClaim(route: RouteConfig, take: (host: string, match: string) => void): void {
  for (const rule of route.rules)
    for (const match of rule.matches) {
      const text = canonicalJson(match);
      for (const host of route.hosts) take(host, text);
    }
}

/**
 * Refuses two rules with the identical match on the same host and gateway: which of them served would depend on their names.
 * Matches that merely overlap are fine, precedence decides.
 */
export function refuseRouteConflicts(context: CompileContext, routes: readonly RouteConfig[]): void {
  // By host, then by the match's JSON: both are strings that stay the same objects, so their hashes are known.
  const hosts = new Map<string, Map<string, Claim[]>>();
  for (const route of appliedLast(context, routes)) {
    const resource = context.find("Route", route.name);
    if (resource === undefined || !isReachKnown(context, resource)) continue;
    for (const [i, rule] of route.rules.entries()) {
      const at: IssuePath = ["spec", "rules", i];
      if (!context.isWhole(resource, [...at, "matches"]) || context.hasUnknownKey(resource, at)) continue;
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
        if (other !== undefined) report(context, resource, other, where, ["spec", "rules", i, "matches", j]);
      }
    }
  }
}

/** Of a route whose hosts and gateways cannot be read, nothing is known to be claimed. */
function isReachKnown(context: CompileContext, route: RouteResource): boolean {
  const isWhole = (...path: string[]): boolean => context.isWhole(route, path);
  return (
    isWhole("spec", "hosts") && isWhole("spec", "gateways") && isWhole("metadata") && !context.hasUnknownKey(route, ["spec"])
  );
}

/** So that a conflict is told where something can be done about it. */
export function appliedLast(context: CompileContext, routes: readonly RouteConfig[]): readonly RouteConfig[] {
  const isApplied = (route: RouteConfig): boolean => {
    const resource = context.find("Route", route.name);
    return resource === undefined || context.isApplied(resource);
  };
  return [...routes.filter((each) => !isApplied(each)), ...routes.filter(isApplied)];
}

function report(context: CompileContext, resource: RouteResource, other: Claim, host: string, path: IssuePath): void {
  const route = context.find("Route", other.route.name);
  const name = route === undefined ? `Route ${other.route.name}` : context.nameOf(route);
  const message = `Rule ${other.rule} of ${name}${context.whereStored(route)} has the same match on host ${host}.`;
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
