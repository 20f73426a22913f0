import type { Clock } from "../core/clock.ts";
import type { EventLog } from "../core/events.ts";
import type { FilterLogs } from "../core/filter-logs.ts";
import type { Log } from "../core/log.ts";
import { systemRng } from "../core/rng.ts";
import type { NodeFacts } from "../filters/attributes.ts";
import type { PublishMessage } from "../filters/guest/grants.ts";
import { FilterRegistry } from "../filters/store.ts";
import type { LogPlaces } from "../proxy/observe/log-place.ts";
import { ProxyObserver } from "../proxy/observe/observer.ts";
import { readDescriptorLimit } from "../runtime/descriptors.ts";
import { selectNet } from "../runtime/select.ts";
import { createFilterHost } from "./filters.ts";
import { RunningProxy } from "./proxy.ts";

export interface CreatedProxy {
  readonly proxy: RunningProxy;
  readonly observer: ProxyObserver;
}

/** The data plane of this process, with real sockets, time and chance. Nothing listens before the first snapshot. */
export async function createProxy(options: {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: BigInt64Array;
  readonly reusePort: boolean;
  readonly unixSockets?: boolean;
  readonly logPlaces: LogPlaces;
  /** What filters are told of the proxy. Absent: that it has no name. */
  readonly node?: NodeFacts;
  readonly events?: EventLog;
  readonly filterLogs?: FilterLogs;
  /** Where rewritten filter modules are kept between processes; undefined: nowhere. */
  readonly moduleFolder?: string | undefined;
  /** How filters publish over NATS. Absent: there is none. */
  readonly publish?: PublishMessage;
}): Promise<CreatedProxy> {
  const { clock, log, reusePort, unixSockets = true, logPlaces, events, filterLogs } = options;
  const rng = systemRng();
  const observer = new ProxyObserver(clock, rng, log, logPlaces, events, filterLogs, options.node?.id);
  const host = createFilterHost({
    ...options,
    ...{ metrics: observer.filterMetrics, filterLogs: observer.filterLogs },
    callout: (filter, request, done) => proxy.startCallout(filter, request, done),
  });
  const proxy: RunningProxy = new RunningProxy({
    net: await selectNet(),
    clock,
    rng,
    log,
    observer,
    filters: new FilterRegistry(host, { log: log.for("filter"), metrics: observer.filterMetrics }),
    createAuthenticator: async (config) => {
      const { JwtAuthenticator } = await import("../filters/jwt/authenticator.ts");
      const authenticator = new JwtAuthenticator(config, { clock, rng, log: log.for("jwt") });
      void authenticator.warm();
      return authenticator;
    },
    reusePort,
    unixSockets,
    descriptors: readDescriptorLimit(),
  });
  return { proxy, observer };
}
