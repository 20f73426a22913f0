import { createProxy } from "../../../src/app/create-proxy.ts";
import { ownCounters } from "../../../src/app/filters.ts";
import { sha256Digest } from "../../../src/config/canonical.ts";
import { SystemClock } from "../../../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET } from "../../../src/core/limits.ts";
import { JsonLog } from "../../../src/core/log.ts";
import { DEFAULT_CAPABILITIES } from "../../../src/filters/guest/grants.ts";
import { ANY_PLACE } from "../../../src/proxy/observe/log-place.ts";
import { endpointsOf, filterOf, forwardTo, listenerOf, routeOf, serviceOf, snapshotOf } from "../../kit/snapshot.ts";
import { assembleModule, type Case } from "./format.ts";
import { type HostUnderTest, NODE, type Peers, type Stage } from "./play.ts";

/** All cases in one proxy of ours: a listener, a route and a filter for each. */
export async function startOnSelvedge(stages: readonly Stage[], peers: Peers): Promise<HostUnderTest> {
  const clock = new SystemClock();
  const lines = new Map<string, string[]>();
  const log = new JsonLog("info", clock, (text) => {
    const { message, filter, reason } = JSON.parse(text) as { message: string; filter?: string; reason?: string };
    // Lines of the host about a filter say a reason.
    if (filter !== undefined && reason === undefined) lines.set(filter, [...(lines.get(filter) ?? []), message]);
  });
  const { proxy } = await createProxy({
    clock,
    log,
    counters: ownCounters(),
    reusePort: false,
    logPlaces: ANY_PLACE,
    node: NODE,
  });
  const modules = new Map(stages.map(({ each }) => [sha256Digest(assembleModule(each)), assembleModule(each)] as const));
  const issues = await proxy.apply({ snapshot: snapshotFor(stages, peers), modules, publishedAtMs: undefined });
  if (issues.length > 0) {
    await proxy.stop();
    throw new Error(issues.map((issue) => issue.message).join("\n"));
  }
  return {
    host: "selvedge",
    port({ name }) {
      const address = proxy.addresses.get(`default/${name}/http`);
      if (address?.kind !== "tcp") throw new Error(`no listener for ${name}`);
      return address.port;
    },
    lines: ({ name }) => lines.get(`default/${name}`) ?? [],
    stop: () => proxy.stop(),
  };
}

const EVERYTHING = { read: ["**"], write: ["**"] };

export function filterFor(each: Case, aliases: readonly string[]): ReturnType<typeof filterOf> {
  return filterOf(each.name, sha256Digest(assembleModule(each)), {
    settings: each.configuration ?? each.script ?? "",
    ...(each.pauseHolds === undefined ? {} : { pauseHolds: each.pauseHolds }),
    ...(each.rootId === undefined ? {} : { rootId: each.rootId }),
    capabilities: {
      ...DEFAULT_CAPABILITIES,
      callouts: ["aside", "nobody", ...aliases].map((name) => `default/${name}`),
      clock: true,
      // Also what no wildcard stands for: the suite is about the ABI, not about what is granted.
      headers: { request: EVERYTHING, response: EVERYTHING },
      attributes: EVERYTHING,
    },
    // Reading its script takes a guest more than filters need.
    budget: {
      ...DEFAULT_FILTER_BUDGET,
      callbackFuel: 50_000_000,
      exchangeFuel: 500_000_000,
      logLinesPerSecond: 10_000,
      ...each.budget,
    },
  });
}

function snapshotFor(stages: readonly Stage[], peers: Peers): ReturnType<typeof snapshotOf> {
  const base = listenerOf();
  return snapshotOf({
    listeners: stages.map(({ each }) => ({
      ...base,
      name: `default/${each.name}/http`,
      gateway: `default/${each.name}`,
      requestTrailers: ["x-trailer", "x-more", "x-new"],
    })),
    routes: stages.map(({ each }) => ({
      ...routeOf(each.name, [forwardTo(`up-${each.name}`, { filters: [`default/${each.name}`] })]),
      gateways: [`default/${each.name}`],
    })),
    services: [
      ...stages.map(({ each }) => serviceOf(`up-${each.name}`)),
      ...["aside", "nobody", ...peers.aliases].map((name) => serviceOf(name)),
    ],
    endpoints: [
      ...stages.map(({ each, upstreamPort }) => endpointsOf(`up-${each.name}`, [upstreamPort])),
      endpointsOf("aside", [peers.asidePort]),
      ...peers.aliases.map((name) => endpointsOf(name, [peers.asidePort])),
      endpointsOf("nobody", [peers.deadPort]),
    ],
    filters: stages.map(({ each }) => filterFor(each, peers.aliases)),
  });
}
