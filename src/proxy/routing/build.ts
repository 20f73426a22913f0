import type { ListenerConfig, RouteConfig } from "../../config/snapshot.ts";
import { commonEnds } from "../../config/sorted-list.ts";
import { isSameData } from "../../core/equal.ts";
import { asksTheSame, belongsTo, type Candidate, type CompiledRoute, compileRoute } from "./candidate.ts";
import { HostMap } from "./host.ts";
import { hostsOf, indexRoutes, type MatchIndex } from "./match-index.ts";
import { RouteTable, type Scope } from "./route-table.ts";
import type { Router } from "./router.ts";

/** When more than one route in so many changed, new indexes are cheaper than changed ones. */
const REBUILD_SHARE = 4;

/**
 * Compiles routes into a router. With `previous` (made by this function), routes that did not change keep their compiled form, and
 * indexes are copied as bytes and changed where routes changed. Equal data counts as unchanged, also when it is not the same object,
 * but the same objects are found out faster. Throws an `Error` that names every route that cannot be compiled (validated
 * configuration has none).
 */
export function buildRouter(routes: readonly RouteConfig[], listeners: readonly ListenerConfig[], previous?: Router): Router {
  const before = previous instanceof RouteTable ? previous : undefined;
  const configs = sortByName(routes, before?.configs ?? []);
  const { compiled, changes } = compileRoutes(configs, before?.routes ?? [], before?.configs ?? []);
  const indexes = indexClasses(compiled, changes, before?.indexes);
  return new RouteTable(configs, compiled, indexes, scopesOf(listeners, indexes));
}

// ---------------------------------------------------------------- routes

interface Change {
  readonly before: CompiledRoute | undefined;
  readonly after: CompiledRoute | undefined;
  /** Both are there and ask the same: only what is done with requests differs. */
  readonly exchange?: boolean;
}

/**
 * In order of names. Canonical snapshots are sorted already, and what begins and ends with the same objects as before needs no look at
 * its names: nearly all of ten thousand routes, at each change of one.
 */
function sortByName(routes: readonly RouteConfig[], before: readonly RouteConfig[]): readonly RouteConfig[] {
  const { head, tail } = commonEnds(before, routes);
  const end = Math.min(routes.length - tail, routes.length - 1);
  for (let i = Math.max(head, 1); i <= end; i++) {
    if ((routes[i - 1] as RouteConfig).name < (routes[i] as RouteConfig).name) continue;
    const sorted = routes.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    const twice = sorted.find((route, at) => at > 0 && route.name === sorted[at - 1]?.name);
    if (twice !== undefined) throw new Error(`Route ${twice.name} is there twice`);
    return sorted;
  }
  return routes;
}

/** The first at or behind `from` and before `end` whose name is not smaller. */
function skipTo(routes: readonly RouteConfig[], from: number, end: number, name: string): number {
  let at = from;
  while (at < end && (routes[at] as RouteConfig).name < name) at++;
  return at;
}

/** Walks the old list (`before`, of `configs`) and the new one side by side where they differ; both are sorted by name. */
function compileRoutes(
  routes: readonly RouteConfig[],
  before: readonly CompiledRoute[],
  configs: readonly RouteConfig[],
): { compiled: CompiledRoute[]; changes: Change[] } {
  const { head, tail } = commonEnds(configs, routes);
  const end = configs.length - tail;
  const compiled: CompiledRoute[] = [];
  const changes: Change[] = [];
  const problems: string[] = [];
  let old = head;
  for (const config of routes.slice(head, routes.length - tail)) {
    if (old < end && configs[old] === config) {
      compiled.push(before[old++] as CompiledRoute);
      continue;
    }
    for (const next = skipTo(configs, old, end, config.name); old < next; old++)
      changes.push({ before: before[old], after: undefined });
    const same = old < end && configs[old]?.name === config.name ? before[old] : undefined;
    if (same !== undefined) old++;
    if (same !== undefined && isSameData(same.config, config)) {
      // The new object is kept, so that the next build sees at once that it is the same.
      compiled.push({ config, candidates: same.candidates });
      continue;
    }
    try {
      const after = compileRoute(config, same);
      compiled.push(after);
      changes.push({ before: same, after, exchange: same !== undefined && asksTheSame(same, after) });
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  while (old < end) changes.push({ before: before[old++], after: undefined });
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return { compiled: before.slice(0, head).concat(compiled, before.slice(before.length - tail)), changes };
}

// ---------------------------------------------------------------- indexes

type Indexes = ReadonlyMap<string, MatchIndex>;

/** The gateways that routes name, and "" for all others: each has an index of its own. */
function indexClasses(routes: readonly CompiledRoute[], changes: readonly Change[], before: Indexes | undefined): Indexes {
  if (before !== undefined && changes.every((change) => change.exchange === true)) return exchangeAll(before, changes);
  const few = changes.length * REBUILD_SHARE < routes.length;
  const old = before !== undefined && few && !changes.some(namesGateways) ? before : undefined;
  const classes = old === undefined ? classesOf(routes) : old.keys();
  const kept = old ?? (before !== undefined && few && sameKeys(before, classes) ? before : undefined);
  const indexes = new Map<string, MatchIndex>();
  for (const name of classes) {
    const index = kept?.get(name);
    const changed = index === undefined ? undefined : changeIndex(index, changes, name);
    const usable = changed !== undefined && !changed.isWorn;
    indexes.set(name, usable ? changed : indexRoutes(routes.filter((route) => belongsTo(route, name))));
  }
  return indexes;
}

/** Everything is where it was. */
function exchangeAll(before: Indexes, changes: readonly Change[]): Indexes {
  if (changes.length === 0) return before;
  const indexes = new Map<string, MatchIndex>();
  for (const [name, old] of before) {
    let index = old;
    for (const { before: gone, after } of changes) {
      if (gone === undefined || after === undefined || !belongsTo(after, name)) continue;
      if (index === old) index = old.fork();
      for (const [i, candidate] of after.candidates.entries())
        for (const host of hostsOf(candidate)) index.exchange(host, gone.candidates[i] as Candidate, candidate);
    }
    indexes.set(name, index);
  }
  return indexes;
}

const namesGateways = ({ before, after }: Change): boolean =>
  (before?.config.gateways.length ?? 0) + (after?.config.gateways.length ?? 0) > 0;

function classesOf(routes: readonly CompiledRoute[]): Set<string> {
  const classes = new Set([""]);
  for (const route of routes) for (const gateway of route.config.gateways) classes.add(gateway);
  return classes;
}

function sameKeys(map: Indexes, keys: Iterable<string>): boolean {
  let count = 0;
  for (const key of keys) {
    if (!map.has(key)) return false;
    count++;
  }
  return count === map.size;
}

/** A copy of `old` with the changes; `old` itself when none is for this class of gateways. */
function changeIndex(old: MatchIndex, changes: readonly Change[], gateway: string): MatchIndex {
  let index = old;
  for (const { before, after } of changes) {
    const gone = before !== undefined && belongsTo(before, gateway) ? before.candidates : [];
    const come = after !== undefined && belongsTo(after, gateway) ? after.candidates : [];
    if (index === old && gone.length + come.length > 0) index = old.copy();
    for (const candidate of gone) for (const host of hostsOf(candidate)) index.remove(host, candidate);
    for (const candidate of come.toReversed()) for (const host of hostsOf(candidate)) index.insert(host, candidate);
  }
  return index;
}

// ---------------------------------------------------------------- listeners

/** By listener name with its own hosts, and by gateway name with the hosts of all its listeners. */
function scopesOf(listeners: readonly ListenerConfig[], indexes: Indexes): Map<string, Scope> {
  const scopes = new Map<string, Scope>();
  const byGateway = new Map<string, ListenerConfig[]>();
  for (const listener of listeners) byGateway.set(listener.gateway, [...(byGateway.get(listener.gateway) ?? []), listener]);
  for (const [gateway, group] of byGateway) {
    const index = indexes.get(gateway) ?? indexes.get("");
    if (index === undefined) continue;
    scopes.set(gateway, { gateway, index, hosts: servedHosts(group) });
    for (const listener of group) scopes.set(listener.name, { gateway, index, hosts: servedHosts([listener]) });
  }
  return scopes;
}

function servedHosts(listeners: readonly ListenerConfig[]): HostMap<true> | undefined {
  if (listeners.some((listener) => listener.hosts.length === 0)) return undefined;
  const hosts = new HostMap<true>();
  for (const listener of listeners) for (const host of listener.hosts) hosts.set(host, true);
  return hosts;
}
