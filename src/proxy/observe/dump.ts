import type { MetricKey } from "./metric-names.ts";

/**
 * What a process has observed since its last dump: counters and histograms as differences, gauges as they are. Differences,
 * because then a worker may die, forget idle series or start anew and no total ever goes back. JSON, so that it passes a pipe.
 */
export interface MetricsDump {
  readonly counters: readonly CounterRow[];
  readonly histograms: readonly HistogramRow[];
  readonly gauges: readonly GaugeRow[];
}

/** `[metric, label values, difference]` */
export type CounterRow = readonly [MetricKey, readonly string[], number];
/** `[metric, label values, sum of the recorded values, pairs of bucket and count]` */
export type HistogramRow = readonly [MetricKey, readonly string[], number, readonly number[]];
/** `[metric, label values, value]` */
export type GaugeRow = readonly [MetricKey, readonly string[], number];

/** A dump under construction. */
export class DumpBuilder {
  readonly counters: CounterRow[] = [];
  readonly histograms: HistogramRow[] = [];
  readonly gauges: GaugeRow[] = [];

  counter(metric: MetricKey, labels: readonly string[], difference: number): void {
    if (difference !== 0) this.counters.push([metric, labels, difference]);
  }
  /** Takes what the histogram holds and empties it. */
  histogram(
    metric: MetricKey,
    labels: readonly string[],
    values: { count: number; sum: number; sparse(): number[]; reset(): void },
  ): void {
    if (values.count === 0) return;
    this.histograms.push([metric, labels, values.sum, values.sparse()]);
    values.reset();
  }
  gauge(metric: MetricKey, labels: readonly string[], value: number): void {
    this.gauges.push([metric, labels, value]);
  }
}
