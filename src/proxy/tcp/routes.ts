import type { ListenerConfig, RouteConfig, Snapshot, TcpConfig } from "../../config/snapshot.ts";
import { diffLists } from "../../config/sorted-list.ts";

/** A route of streams. */
export interface StreamRoute extends RouteConfig {
  readonly tcp: TcpConfig;
}

/** By host: exact names, `*.` wildcards, `*`. */
type ByHost<T> = ReadonlyMap<string, T>;

interface Scope {
  readonly routes: ByHost<StreamRoute>;
  /** What the listener serves at all; undefined: everything. */
  readonly served: ByHost<true> | undefined;
}

/** Which route serves the streams of a listener. Built once per generation. */
export class StreamRoutes {
  private constructor(readonly byListener: ReadonlyMap<string, Scope>) {}

  static of(routes: readonly RouteConfig[], listeners: readonly ListenerConfig[]): StreamRoutes {
    const streams = listeners.filter(carriesStreams);
    const mine = streams.length === 0 ? [] : routes.filter(isStreamRoute);
    return new StreamRoutes(new Map(streams.map((listener) => [listener.name, scopeOf(listener, mine)])));
  }

  /** By the listener's full name. `serverName`: of SNI; the most specific host wins. Undefined: nobody serves it. */
  find(listener: string, serverName: string | undefined): StreamRoute | undefined {
    const scope = this.byListener.get(listener);
    const name = serverName ?? "";
    if (scope === undefined || (scope.served !== undefined && findHost(scope.served, name) === undefined)) return undefined;
    return findHost(scope.routes, name);
  }
}

/** What stands for the most specific host that covers a name; "": the downstream gave none. */
function findHost<T>(hosts: ByHost<T>, name: string): T | undefined {
  const exact = name === "" ? undefined : hosts.get(name);
  if (exact !== undefined) return exact;
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    const found = hosts.get(`*${name.slice(dot)}`);
    if (found !== undefined) return found;
  }
  return hosts.get("*");
}

export const carriesStreams = ({ protocol }: ListenerConfig): boolean => protocol === "tcp" || protocol === "tls";

const isStreamRoute = (route: RouteConfig): route is StreamRoute => route.tcp !== undefined;

function scopeOf(listener: ListenerConfig, all: readonly StreamRoute[]): Scope {
  const routes = new Map<string, StreamRoute>();
  const shortName = listener.name.slice(listener.name.lastIndexOf("/") + 1);
  for (const route of all) {
    if (route.tcp.listener !== shortName) continue;
    if (route.gateways.length > 0 && !route.gateways.includes(listener.gateway)) continue;
    for (const host of route.hosts) if (!routes.has(host)) routes.set(host, route);
  }
  const served = listener.hosts.length === 0 ? undefined : new Map(listener.hosts.map((host) => [host, true as const]));
  return { routes, served };
}

/** The former ones when neither listeners nor routes of streams changed; ten thousand other routes are not looked at then. */
export function buildStreamRoutes(
  { routes, listeners }: Snapshot,
  previous: { readonly snapshot: Snapshot; readonly streams: StreamRoutes } | undefined,
): StreamRoutes {
  if (previous !== undefined && previous.snapshot.listeners === listeners) {
    const { removed, added } = diffLists(previous.snapshot.routes, routes, (each) => each.name);
    if (!removed.some(isStreamRoute) && !added.some(isStreamRoute)) return previous.streams;
  }
  return StreamRoutes.of(routes, listeners);
}
