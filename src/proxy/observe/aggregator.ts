import type { Clock } from "../../core/clock.ts";
import { LogHistogram, TIME_SCALE } from "../../core/histogram.ts";
import type { MetricsDump } from "./dump.ts";
import { METRICS, type MetricDefinition, type MetricKey, OVERFLOW_LABEL } from "./metric-names.ts";

/** A counter or histogram that nothing was added to for this long disappears. */
const IDLE_MS = 60 * 60_000;

interface Series {
  readonly labels: readonly string[];
  value: number;
  readonly histogram: LogHistogram | undefined;
  touchedMs: number;
}

/** One metric with all its series, ready to be rendered. */
export interface MetricFamily {
  readonly key: MetricKey;
  readonly definition: MetricDefinition;
  readonly series: readonly {
    readonly labels: readonly string[];
    readonly value: number;
    readonly histogram: LogHistogram | undefined;
  }[];
}

/**
 * Adds up the dumps of all processes. Totals never go back: a process that dies takes only its gauges with it. Bounded: each
 * metric has its budget of series, what comes beyond is counted under `__other__`.
 */
export class MetricsAggregator {
  readonly #totals = new Map<MetricKey, Map<string, Series>>();
  readonly #gauges = new Map<string, MetricsDump["gauges"]>();

  constructor(readonly clock: Clock) {}

  /** `source` names the process: its gauges replace those of its last dump. */
  add(source: string, dump: MetricsDump): void {
    for (const [metric, labels, difference] of dump.counters) {
      if (difference > 0) this.#seriesOf(metric, labels).value += difference;
    }
    for (const [metric, labels, sum, sparse] of dump.histograms) this.#seriesOf(metric, labels).histogram?.addSparse(sparse, sum);
    this.#gauges.set(source, dump.gauges);
  }

  /** A counter of this process itself. */
  count(metric: MetricKey, labels: readonly string[], difference = 1): void {
    this.#seriesOf(metric, labels).value += difference;
  }

  /** The process is gone: its gauges no longer count. */
  removeSource(source: string): void {
    this.#gauges.delete(source);
  }

  /** The sum of all series of a counter. */
  total(metric: MetricKey): number {
    let total = 0;
    for (const series of this.#totals.get(metric)?.values() ?? []) total += series.value;
    return total;
  }

  #seriesOf(metric: MetricKey, labels: readonly string[]): Series {
    const definition: MetricDefinition = METRICS[metric];
    let table = this.#totals.get(metric);
    if (table === undefined) {
      table = new Map();
      this.#totals.set(metric, table);
    }
    let series = table.get(JSON.stringify(labels));
    if (series === undefined) {
      const full = table.size >= definition.seriesMax;
      const own = full ? definition.labels.map(() => OVERFLOW_LABEL) : labels;
      const key = JSON.stringify(own);
      series = table.get(key);
      if (series === undefined) {
        series = { labels: own, value: 0, histogram: newHistogram(definition), touchedMs: 0 };
        table.set(key, series);
      }
    }
    series.touchedMs = this.clock.nowMs();
    return series;
  }

  /** Everything there is now, in the order of the table; forgets what was idle for too long. */
  families(): MetricFamily[] {
    this.#expire();
    const gauges = this.#sumGauges();
    const families: MetricFamily[] = [];
    for (const key of Object.keys(METRICS) as MetricKey[]) {
      const definition: MetricDefinition = METRICS[key];
      const series = definition.kind === "gauge" ? gauges.get(key) : this.#totals.get(key);
      families.push({ key, definition, series: [...(series?.values() ?? [])] });
    }
    return families;
  }

  #expire(): void {
    const beforeMs = this.clock.nowMs() - IDLE_MS;
    for (const table of this.#totals.values()) {
      for (const [key, series] of table) if (series.touchedMs < beforeMs) table.delete(key);
    }
  }

  #sumGauges(): Map<MetricKey, Map<string, Series>> {
    const sums = new Map<MetricKey, Map<string, Series>>();
    for (const gauges of this.#gauges.values()) {
      for (const [metric, labels, value] of gauges) {
        const definition: MetricDefinition = METRICS[metric];
        const table = sums.get(metric) ?? new Map<string, Series>();
        sums.set(metric, table);
        const full = table.size >= definition.seriesMax && !table.has(JSON.stringify(labels));
        const own = full ? definition.labels.map(() => OVERFLOW_LABEL) : labels;
        const key = JSON.stringify(own);
        const known = table.get(key);
        if (known === undefined) table.set(key, { labels: own, value, histogram: undefined, touchedMs: 0 });
        else known.value = metric === "configRevision" ? Math.min(known.value, value) : known.value + value;
      }
    }
    return sums;
  }
}

function newHistogram(definition: MetricDefinition): LogHistogram | undefined {
  if (definition.kind !== "histogram") return undefined;
  return new LogHistogram(definition.scale ?? TIME_SCALE);
}
