import type { LogHistogram } from "../core/histogram.ts";
import type { FilterStatus } from "../filters/contract.ts";
import type { MetricFamily } from "../proxy/observe/aggregator.ts";
import type { MetricKey } from "../proxy/observe/metric-names.ts";
import type { HostStatus } from "./host.ts";

/** A filter as one worker's status has it. */
export interface WorkerFilter extends FilterStatus {
  readonly name: string;
  readonly origin: string;
  readonly digest: string;
}

/** What keeps a filter from running, in the order in which it matters. */
const SHOWN_STATES = ["disabled by hand", "disabled by configuration", "quarantined", "running"] as const;
export type ShownState = (typeof SHOWN_STATES)[number];

/** What /filters says of one filter: all workers of this proxy together, since the proxy started. */
export interface FilterView {
  readonly name: string;
  readonly origin: string;
  readonly digest: string;
  /** Where workers differ, the first of this list that one of them has. */
  readonly state: ShownState;
  readonly instances: number;
  readonly contexts: number;
  readonly memoryBytes: number;
  /** Instances that broke. */
  readonly traps: number;
  /** Of the worker where something broke last that is known; absent: nothing broke. */
  readonly lastError?: string;
  /** Workers that do not run it any more because it broke too often. */
  readonly quarantinedIn: readonly number[];
  /** Callbacks by name. */
  readonly calls: Readonly<Record<string, number>>;
  /** Exchanges by the strongest thing that it answered. */
  readonly verdicts: Readonly<Record<string, number>>;
  /** What went wrong, by kind: budgets that were hit among them. */
  readonly faults: Readonly<Record<string, number>>;
  /** Calls that its capabilities do not grant, by capability. */
  readonly denied: Readonly<Record<string, number>>;
  readonly fuel: {
    readonly total: number;
    readonly callbackP50: number;
    readonly callbackP99: number;
    readonly callbackMost: number;
  };
  /** An estimate, as the metrics are. */
  readonly time: { readonly totalSeconds: number; readonly callbackP50Us: number; readonly callbackP99Us: number };
}

/** One view for each filter that some worker has, by name. */
export function filterViews(status: HostStatus, families: readonly MetricFamily[]): FilterView[] {
  const workers = status.workers.flatMap(({ index, dataPlane }) =>
    ((dataPlane as { filters?: readonly WorkerFilter[] } | undefined)?.filters ?? []).map((filter) => ({ index, filter })),
  );
  const names = [...new Set(workers.map(({ filter }) => filter.name))].sort();
  const metrics = new Map(families.map((family) => [family.key, family]));
  return names.map((name) =>
    viewOf(
      name,
      workers.filter(({ filter }) => filter.name === name),
      metrics,
    ),
  );
}

function viewOf(
  name: string,
  workers: readonly { readonly index: number; readonly filter: WorkerFilter }[],
  metrics: ReadonlyMap<MetricKey, MetricFamily>,
): FilterView {
  const sum = (read: (filter: WorkerFilter) => number): number => workers.reduce((total, { filter }) => total + read(filter), 0);
  const seriesOf = (key: MetricKey) => (metrics.get(key)?.series ?? []).filter(({ labels }) => labels[0] === name);
  const byLabel = (key: MetricKey) => Object.fromEntries(seriesOf(key).map(({ labels, value }) => [labels[1] ?? "", value]));
  const total = (key: MetricKey): number => seriesOf(key).reduce((all, { value }) => all + value, 0);
  const quantile = (key: MetricKey, share: number): number => finite(seriesOf(key)[0]?.histogram, share);
  const lastError = workers.findLast(({ filter }) => filter.lastError !== undefined)?.filter.lastError;
  const { origin = "", digest = "" } = workers[0]?.filter ?? {};
  return {
    ...{ name, origin, digest },
    state: SHOWN_STATES.find((state) => workers.some(({ filter }) => shownState(filter) === state)) ?? "running",
    instances: sum(({ instances }) => instances),
    contexts: sum(({ contexts }) => contexts),
    memoryBytes: sum(({ memoryBytes }) => memoryBytes),
    traps: sum(({ traps }) => traps),
    ...(lastError === undefined ? {} : { lastError }),
    quarantinedIn: workers.filter(({ filter }) => filter.quarantined === true).map(({ index }) => index),
    calls: byLabel("filterCalls"),
    verdicts: byLabel("filterVerdicts"),
    faults: byLabel("filterFaults"),
    denied: byLabel("filterDenied"),
    fuel: {
      total: total("filterFuel"),
      callbackP50: quantile("filterCallFuel", 0.5),
      callbackP99: quantile("filterCallFuel", 0.99),
      callbackMost: Math.max(0, ...workers.map(({ filter }) => filter.callbackFuelMost ?? 0)),
    },
    time: {
      totalSeconds: total("filterSeconds"),
      callbackP50Us: quantile("filterCallTime", 0.5) / 1000,
      callbackP99Us: quantile("filterCallTime", 0.99) / 1000,
    },
  };
}

function shownState({ state = "running", disabledBy = "configuration" }: WorkerFilter): ShownState {
  return state === "disabled" ? `disabled by ${disabledBy}` : state;
}

/** Of a histogram that is empty, or where it lies beyond the last bound: 0 and that bound, because JSON has no infinity. */
function finite(histogram: LogHistogram | undefined, share: number): number {
  const value = histogram?.quantile(share) ?? 0;
  return Number.isFinite(value) ? value : 2 ** (histogram?.scale.maxExponent ?? 0);
}
