import type { Clock } from "../../core/clock.ts";
import { LogHistogram, TIME_SCALE } from "../../core/histogram.ts";
import type { DumpBuilder } from "./dump.ts";

import { OVERFLOW_LABEL, PAIRS_MAX } from "./metric-names.ts";
import type { StreamRecord } from "./record.ts";

const IDLE_MS = 10 * 60_000;
const NO_FLAG = "-";

/** What is counted per route and service. */
class StreamSeries {
  readonly flags = new Map<string, number>();
  readonly durations = new LogHistogram(TIME_SCALE);
  open = 0;
  receivedBytes = 0;
  sentBytes = 0;
  touchedMs = 0;

  constructor(readonly labels: readonly [string, string]) {}
}

/** How much of an open stream was counted already. */
interface Counted {
  receivedBytes: number;
  sentBytes: number;
}

/** What is counted of streams of bytes. They may be open for days, so what passes is counted while they are. */
export class StreamTable {
  readonly #series = new Map<string, StreamSeries>();
  readonly #open = new Map<StreamRecord, Counted>();

  constructor(readonly clock: Clock) {}

  onStart(record: StreamRecord): void {
    this.#open.set(record, { receivedBytes: 0, sentBytes: 0 });
  }

  onEnd(record: StreamRecord): void {
    const counted = this.#open.get(record);
    if (counted !== undefined) this.#count(record, counted);
    this.#open.delete(record);
    const series = this.#of(record);
    const flag = record.failure?.row.flag ?? NO_FLAG;
    series.flags.set(flag, (series.flags.get(flag) ?? 0) + 1);
    series.durations.record((record.endMs - record.startMs) * 1000);
  }

  /** A stream has its service before its first byte goes through. */
  #count(record: StreamRecord, counted: Counted): StreamSeries {
    const series = this.#of(record);
    series.receivedBytes += record.receivedBytes - counted.receivedBytes;
    series.sentBytes += record.sentBytes - counted.sentBytes;
    counted.receivedBytes = record.receivedBytes;
    counted.sentBytes = record.sentBytes;
    return series;
  }

  #of({ routeName, serviceName }: StreamRecord): StreamSeries {
    const key = `${routeName} ${serviceName}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      const isFull = this.#series.size >= PAIRS_MAX;
      const other = isFull ? this.#series.get(OVERFLOW_LABEL) : undefined;
      if (other !== undefined) return this.#touch(other);
      series = new StreamSeries(isFull ? [OVERFLOW_LABEL, OVERFLOW_LABEL] : [routeName, serviceName]);
      this.#series.set(isFull ? OVERFLOW_LABEL : key, series);
    }
    return this.#touch(series);
  }

  #touch(series: StreamSeries): StreamSeries {
    series.touchedMs = this.clock.nowMs();
    return series;
  }

  drain(dump: DumpBuilder): void {
    for (const series of this.#series.values()) series.open = 0;
    for (const [record, counted] of this.#open) this.#count(record, counted).open++;
    const idleBeforeMs = this.clock.nowMs() - IDLE_MS;
    for (const [key, series] of this.#series) {
      const { labels, flags } = series;
      for (const [flag, count] of flags) dump.counter("streams", [...labels, flag], count);
      flags.clear();
      dump.gauge("streamsOpen", labels, series.open);
      dump.counter("streamReceivedBytes", labels, series.receivedBytes);
      dump.counter("streamSentBytes", labels, series.sentBytes);
      series.receivedBytes = 0;
      series.sentBytes = 0;
      dump.histogram("streamDuration", labels, series.durations);
      if (series.touchedMs < idleBeforeMs) this.#series.delete(key);
    }
  }
}
