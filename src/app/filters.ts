import type { FilterConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterLogs } from "../core/filter-logs.ts";
import type { Log, LogFields } from "../core/log.ts";
import type { NodeFacts } from "../filters/attributes.ts";
import type { FilterHost, FilterMetrics } from "../filters/contract.ts";
import { ModuleCompiler } from "../filters/guest/compiler.ts";
import type { PublishMessage } from "../filters/guest/grants.ts";
import { SharedState } from "../filters/guest/shared.ts";
import { FilterHosts } from "../filters/hosts.ts";
import { ForeignFunctions } from "../filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost, type ProxyWasmOptions } from "../filters/proxy-wasm/host.ts";
import { RATE_LIMIT_FUNCTION, RateLimitFunction } from "../filters/rate-limit/foreign.ts";
import { RateLimitTable, tableBytes } from "../filters/rate-limit/table.ts";
import { FilterStats } from "../filters/stats.ts";

/** Keys that the exact rate limits of one machine hold at a time; an idle key gives its slot up. 2 MiB. */
const RATE_LIMIT_SLOTS = 65_536;
/** Bytes of the memory that all workers share. */
export const COUNTER_BYTES = tableBytes(RATE_LIMIT_SLOTS);

export interface FilterParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: FilterMetrics;
  /** Undefined: a proxy without a name, for a trial. */
  readonly node?: NodeFacts | undefined;
  /** Where lines of filters are kept besides. Undefined: nowhere. */
  readonly filterLogs?: FilterLogs;
  /** Memory of the rate-limit counters: shared with the other workers, or this process's own. */
  readonly counters: BigInt64Array;
  /** Where rewritten modules are kept between processes; undefined: nowhere. */
  readonly moduleFolder?: string | undefined;
  /** Starts calls that belong to no exchange (from a tick). Undefined: all are refused. */
  readonly callout?: ProxyWasmOptions["callout"];
  /** How they publish over NATS. Undefined: there is none. */
  readonly publish?: PublishMessage;
}

/** The filter host of one process with everything that filters may reach. */
export function createFilterHost(given: FilterParts): FilterHost {
  const { clock, log, metrics, filterLogs, counters, callout, moduleFolder, publish, node } = given;
  const foreign = new ForeignFunctions();
  const rateLimit = new RateLimitFunction(new RateLimitTable(counters, { clock }));
  foreign.registerPlaced(
    RATE_LIMIT_FUNCTION,
    (_filter, memory, at, size) => rateLimit.call(memory, at, size),
    (capabilities) => capabilities.rateLimit,
  );
  const shared = new SharedState();
  const compiler = new ModuleCompiler({
    clock,
    log: log.for("filter"),
    ...(moduleFolder === undefined ? {} : { folder: moduleFolder }),
  });
  const parts = {
    ...{ clock, log: log.for("filter"), metrics, shared, compiler },
    ...(filterLogs === undefined ? {} : { filterLogs }),
    ...(publish === undefined ? {} : { publish }),
    ...(node === undefined ? {} : { node }),
  };
  return new FilterHosts({
    "proxy-wasm": new ProxyWasmHost({ ...parts, foreign, ...(callout === undefined ? {} : { callout }) }),
    component: lazyHost(async () => new (await import("../filters/component/host.ts")).ComponentHost(parts)),
    extism: lazyHost(async () => new (await import("../filters/extism/host.ts")).ExtismHost(parts)),
  });
}

/** A host that is loaded with its first module: who has none does not pay for it. */
function lazyHost(make: () => Promise<FilterHost>): FilterHost {
  let made: Promise<FilterHost> | undefined;
  return {
    async load(wasm, config) {
      made ??= make();
      return (await made).load(wasm, config);
    },
  };
}

/** Counters of a process that shares them with nobody. */
export function ownCounters(): BigInt64Array {
  return new BigInt64Array(new SharedArrayBuffer(COUNTER_BYTES));
}

const NO_METRICS: FilterMetrics = {
  define: () => 0,
  record() {},
  increment() {},
  read: () => 0,
  statsOf: () => new FilterStats(),
  onTrap() {},
};

/** What a filter says in its trial is no filter's trouble: who asked gets the answer, so the log has it at debug, and says what it was. */
function trialLog(log: Log): Log {
  const say = (message: string, fields?: LogFields): void => log.debug(message, { ...fields, trial: true });
  return { level: log.level, debug: say, info: say, warn: say, error: say, for: (component) => trialLog(log.for(component)) };
}

/** Loads filters only to see whether they accept their settings, before any proxy gets them. */
export function createFilterTrial(
  clock: Clock,
  log: Log,
  moduleFolder?: string,
): (config: FilterConfig, bytes: Uint8Array) => Promise<string | undefined> {
  let host: FilterHost | undefined;
  return async (config, bytes) => {
    host ??= createFilterHost({ clock, log: trialLog(log), metrics: NO_METRICS, counters: ownCounters(), moduleFolder });
    try {
      const module = await host.load(bytes, config);
      module.dispose();
      return undefined;
    } catch (error) {
      return describeCause(error);
    }
  };
}
