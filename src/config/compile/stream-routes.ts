import { detectsStreams } from "../module-streams.ts";
import type { IssuePath } from "../parse.ts";
import type { RouteResource } from "../schema/index.ts";
import type { FilterConfig, ListenerConfig, RouteConfig, Snapshot, TcpConfig } from "../snapshot.ts";
import { type CompileContext, fullName } from "./context.ts";
import { shortNameOf } from "./gateway.ts";
import { appliedLast } from "./route-conflicts.ts";

type Around = Pick<Snapshot, "listeners" | "filters">;

/** What a route with `tcp` needs of the rest: a listener that carries streams, and nobody else's; filters that see streams. */
export function checkStreamRoutes(context: CompileContext, routes: readonly RouteConfig[], around: Around): void {
  /** Who has a listener's streams: by listener and host. */
  const claims = new Map<string, RouteConfig>();
  const served = new Set<string>();
  for (const route of appliedLast(context, routes)) {
    const resource = context.find("Route", route.name);
    if (resource === undefined || route.tcp === undefined) continue;
    for (const listener of findListeners(context, resource, route, route.tcp, around.listeners)) {
      served.add(listener.name);
      claimHosts(context, resource, route, listener, claims);
    }
    checkFilters(context, resource, route.tcp, around.filters);
  }
  for (const listener of around.listeners) if (isStream(listener) && !served.has(listener.name)) warnUnserved(context, listener);
}

const isStream = ({ protocol }: ListenerConfig): boolean => protocol === "tcp" || protocol === "tls";

const shortName = ({ name }: ListenerConfig): string => name.slice(name.lastIndexOf("/") + 1);

function findListeners(
  context: CompileContext,
  resource: RouteResource,
  { gateways }: RouteConfig,
  { listener: wanted }: TcpConfig,
  listeners: readonly ListenerConfig[],
): readonly ListenerConfig[] {
  const near = listeners.filter(({ gateway }) => gateways.length === 0 || gateways.includes(gateway));
  const named = near.filter((each) => shortName(each) === wanted);
  const found = named.filter(isStream);
  if (found.length > 0) return found;
  const path: IssuePath = ["spec", "tcp", "listener"];
  const other = named[0];
  if (other !== undefined) {
    const gateway = context.find("Gateway", other.gateway);
    if (gateway !== undefined && !context.isWhole(gateway, ["spec", "listeners"])) return [];
    const message = `Listener ${other.name} serves requests: its protocol is ${other.protocol.toUpperCase()}.`;
    context.report(resource, path, "conflicting_fields", message, "protocol: TCP, or TLS; or a route with rules");
  } else if (!refusedGateway(context, gateways)) {
    const known = near.filter(isStream).map(shortName).join(", ");
    const hint = known === "" ? "a Gateway has it, with protocol: TCP or TLS" : `there are ${known}`;
    context.report(resource, path, "dangling_reference", `No gateway of this route has a listener ${wanted}.`, hint);
  }
  return [];
}

/** A gateway that has issues of its own may have the listener. */
function refusedGateway({ refused }: CompileContext, gateways: readonly string[]): boolean {
  if (gateways.length === 0) return refused.mayHave("Gateway");
  return gateways.some((name) => refused.mayBe("Gateway", name));
}

function claimHosts(
  context: CompileContext,
  resource: RouteResource,
  route: RouteConfig,
  listener: ListenerConfig,
  claims: Map<string, RouteConfig>,
): void {
  for (const [i, host] of route.hosts.entries()) {
    if (listener.protocol === "tcp" && host !== "*") {
      const message = `Listener ${listener.name} hears no names of hosts: its protocol is TCP.`;
      context.report(resource, ["spec", "hosts", i], "conflicting_fields", message, "leave hosts out, or protocol: TLS");
      return;
    }
    const key = `${listener.name} ${host}`;
    const other = claims.get(key);
    if (other !== undefined) {
      const stored = context.whereStored(context.find("Route", other.name));
      const which = listener.protocol === "tcp" ? "" : ` for host ${host}`;
      const message = `Route ${other.name}${stored} has the streams of listener ${listener.name}${which}.`;
      context.report(resource, ["spec", "tcp", "listener"], "route_conflict", message, "backends with weights share them");
      return;
    }
    claims.set(key, route);
  }
}

function checkFilters(context: CompileContext, resource: RouteResource, tcp: TcpConfig, filters: readonly FilterConfig[]): void {
  const written = resource.spec.tcp?.filters ?? [];
  for (const [i, reference] of written.entries()) {
    const name = reference.includes("/") ? reference : `${resource.metadata.namespace}/${reference}`;
    const filter = tcp.filters.includes(name) ? filters.find((each) => each.name === name) : undefined;
    const module = filter === undefined ? undefined : context.modules.get(filter.digest);
    if (filter !== undefined && module === undefined && context.isBrought(resource)) {
      const message = `The module of Filter ${name} is not stored any more: nobody can say whether it sees streams.`;
      const hint = "push it again: selvedge filter push";
      context.report(resource, ["spec", "tcp", "filters", i], "unknown_module", message, hint);
      continue;
    }
    const problem = filter === undefined ? undefined : problemOf(filter, module);
    if (problem === undefined) continue;
    const hint = "proxy_on_new_connection, proxy_on_downstream_data or proxy_on_upstream_data, in a proxy-wasm module";
    context.report(resource, ["spec", "tcp", "filters", i], "filter_without_streams", `Filter ${name} ${problem}.`, hint);
  }
}

const ABI_NAMES = { component: "a component", extism: "a plug-in of Extism" } as const;

/** Why a filter would do nothing on a stream. One that is asked for and does nothing would leave a door open. */
function problemOf({ abi }: FilterConfig, module: Uint8Array | undefined): string | undefined {
  if (abi !== "proxy-wasm") return `is ${ABI_NAMES[abi]}: only proxy-wasm modules see streams`;
  return module === undefined || detectsStreams(module) ? undefined : "has no callback for streams";
}

function warnUnserved(context: CompileContext, listener: ListenerConfig): void {
  const gateway = context.find("Gateway", listener.gateway);
  const at = gateway?.spec.listeners.findIndex((spec) => `${fullName(gateway)}/${shortNameOf(spec)}` === listener.name) ?? -1;
  if (gateway === undefined || at < 0 || context.refused.mayHave("Route")) return;
  const message = `No route serves listener ${listener.name}: what connects is closed.`;
  const hint = `a Route with tcp: { listener: ${shortName(listener)}, backends: [...] }`;
  context.warn(gateway, ["spec", "listeners", at], "listener_without_route", message, hint);
}
