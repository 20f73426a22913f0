import type { ListenerConfig, RouteConfig } from "../../config/snapshot.ts";
import { type CompiledRoute, compileRoute } from "./candidate.ts";
import { isSameData } from "./equal.ts";
import { HostMap } from "./host.ts";
import { HostTable } from "./host-table.ts";
import { type HostIndex, RouteTable, type Scope } from "./route-table.ts";
import type { Router } from "./router.ts";

/**
 * Compiles routes into a router. With `previous` (made by this function), routes that did not change keep their compiled form and
 * hosts whose routes did not change keep their tables. Equal data counts as unchanged, also when it is not the same object.
 * Throws an `Error` that names every route that cannot be compiled (validated configuration has none).
 */
export function buildRouter(routes: readonly RouteConfig[], listeners: readonly ListenerConfig[], previous?: Router): Router {
  const before = previous instanceof RouteTable ? previous : undefined;
  const { compiled, changes } = compileRoutes(sortByName(routes), before?.routes ?? []);
  const classes = classesOf(compiled);
  const keep = before !== undefined && sameKeys(before.indexes, classes);
  const indexes = new Map<string, HostIndex>();
  for (const name of classes) {
    const old = keep ? before.indexes.get(name) : undefined;
    indexes.set(name, old === undefined ? indexAll(compiled, name) : indexChanges(old, changes, name));
  }
  return new RouteTable(compiled, indexes, scopesOf(listeners, indexes));
}

// ---------------------------------------------------------------- routes

interface Change {
  readonly before: CompiledRoute | undefined;
  readonly after: CompiledRoute | undefined;
}

/** Canonical snapshots are sorted already: then this is one pass and no copy. */
function sortByName(routes: readonly RouteConfig[]): readonly RouteConfig[] {
  for (let i = 1; i < routes.length; i++) {
    const [left, right] = [routes[i - 1] as RouteConfig, routes[i] as RouteConfig];
    if (left.name < right.name) continue;
    const sorted = routes.toSorted((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    const twice = sorted.find((route, at) => at > 0 && route.name === sorted[at - 1]?.name);
    if (twice !== undefined) throw new Error(`Route ${twice.name} is there twice`);
    return sorted;
  }
  return routes;
}

/** Walks the old and the new list side by side; both are sorted by name. */
function compileRoutes(
  routes: readonly RouteConfig[],
  before: readonly CompiledRoute[],
): { compiled: CompiledRoute[]; changes: Change[] } {
  const compiled: CompiledRoute[] = [];
  const changes: Change[] = [];
  const problems: string[] = [];
  let old = 0;
  for (const config of routes) {
    while (old < before.length && (before[old] as CompiledRoute).config.name < config.name)
      changes.push({ before: before[old++], after: undefined });
    const candidate = before[old];
    const same = candidate !== undefined && candidate.config.name === config.name ? candidate : undefined;
    if (same !== undefined) old++;
    if (same !== undefined && (same.config === config || isSameData(same.config, config))) {
      compiled.push(same);
      continue;
    }
    try {
      const after = compileRoute(config);
      compiled.push(after);
      changes.push({ before: same, after });
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }
  while (old < before.length) changes.push({ before: before[old++], after: undefined });
  if (problems.length > 0) throw new Error(problems.join("\n"));
  return { compiled, changes };
}

// ---------------------------------------------------------------- hosts

/** The gateways that routes name, and "" for all others: each has an index of its own. */
function classesOf(routes: readonly CompiledRoute[]): Set<string> {
  const classes = new Set([""]);
  for (const route of routes) for (const gateway of route.config.gateways) classes.add(gateway);
  return classes;
}

const belongsTo = (route: CompiledRoute, gateway: string): boolean =>
  route.config.gateways.length === 0 || route.config.gateways.includes(gateway);

function sameKeys(map: ReadonlyMap<string, unknown>, keys: ReadonlySet<string>): boolean {
  if (map.size !== keys.size) return false;
  for (const key of keys) if (!map.has(key)) return false;
  return true;
}

function indexAll(routes: readonly CompiledRoute[], gateway: string): HostIndex {
  const byHost = new Map<string, CompiledRoute[]>();
  for (const route of routes) {
    if (!belongsTo(route, gateway)) continue;
    for (const host of new Set(route.config.hosts)) {
      const list = byHost.get(host);
      if (list === undefined) byHost.set(host, [route]);
      else list.push(route);
    }
  }
  const index: HostIndex = new HostMap<HostTable>();
  for (const [host, list] of byHost) index.set(host, new HostTable(list));
  return index;
}

/** A copy of `old` in which only the hosts of changed routes are made anew; `old` itself when none changed. */
function indexChanges(old: HostIndex, changes: readonly Change[], gateway: string): HostIndex {
  const edits = new Map<string, Change[]>();
  for (const change of changes) {
    const hosts = new Set<string>();
    for (const side of [change.before, change.after])
      if (side !== undefined && belongsTo(side, gateway)) for (const host of side.config.hosts) hosts.add(host);
    for (const host of hosts) {
      const list = edits.get(host);
      if (list === undefined) edits.set(host, [change]);
      else list.push(change);
    }
  }
  if (edits.size === 0) return old;
  const index: HostIndex = new HostMap(old);
  for (const [host, list] of edits) {
    const routes = applyChanges(index.get(host)?.routes ?? [], list, host, gateway);
    index.set(host, routes.length === 0 ? undefined : new HostTable(routes));
  }
  return index;
}

function applyChanges(
  routes: readonly CompiledRoute[],
  changes: readonly Change[],
  host: string,
  gateway: string,
): readonly CompiledRoute[] {
  const gone = new Set(changes.map((change) => change.before));
  const kept = routes.filter((route) => !gone.has(route));
  for (const { after } of changes)
    if (after !== undefined && belongsTo(after, gateway) && after.config.hosts.includes(host)) kept.push(after);
  return kept.sort((a, b) => (a.config.name < b.config.name ? -1 : 1));
}

// ---------------------------------------------------------------- listeners

/** By listener name with its own hosts, and by gateway name with the hosts of all its listeners. */
function scopesOf(listeners: readonly ListenerConfig[], indexes: ReadonlyMap<string, HostIndex>): Map<string, Scope> {
  const scopes = new Map<string, Scope>();
  const byGateway = new Map<string, ListenerConfig[]>();
  for (const listener of listeners) byGateway.set(listener.gateway, [...(byGateway.get(listener.gateway) ?? []), listener]);
  for (const [gateway, group] of byGateway) {
    const index = indexes.get(gateway) ?? indexes.get("");
    if (index === undefined) continue;
    scopes.set(gateway, { index, hosts: hostsOf(group) });
    for (const listener of group) scopes.set(listener.name, { index, hosts: hostsOf([listener]) });
  }
  return scopes;
}

function hostsOf(listeners: readonly ListenerConfig[]): HostMap<true> | undefined {
  if (listeners.some((listener) => listener.hosts.length === 0)) return undefined;
  const hosts = new HostMap<true>();
  for (const listener of listeners) for (const host of listener.hosts) hosts.set(host, true);
  return hosts;
}
