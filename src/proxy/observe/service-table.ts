import type { Clock } from "../../core/clock.ts";
import { LogHistogram, TIME_SCALE } from "../../core/histogram.ts";
import type { DumpBuilder } from "./dump.ts";
import { OVERFLOW_LABEL } from "./metric-names.ts";
import type { ExchangeRecord, StreamRecord } from "./record.ts";

const SERVICES_MAX = 2000;
const IDLE_MS = 10 * 60_000;

class ServiceSeries {
  attempts = 0;
  connected = 0;
  failed = 0;
  open = 0;
  pending = 0;
  touchedMs = 0;
  readonly connectTimes = new LogHistogram(TIME_SCALE);
  readonly firstBytes = new LogHistogram(TIME_SCALE);

  constructor(readonly name: string) {}
}

/** What is counted per upstream service. */
export class ServiceTable {
  readonly #services = new Map<string, ServiceSeries>();
  #last = new ServiceSeries("");

  constructor(readonly clock: Clock) {}

  onExchangeEnd(record: ExchangeRecord): void {
    const series = this.#of(record.serviceName);
    series.attempts += record.attempts;
    series.touchedMs = record.endMs;
    if (record.firstByteMs > 0) series.firstBytes.record((record.firstByteMs - record.startMs) * 1000);
  }

  onStreamEnd(record: StreamRecord): void {
    const series = this.#of(record.serviceName);
    series.attempts += record.attempts;
    series.touchedMs = record.endMs;
  }

  onConnect(service: string, ok: boolean, ms: number): void {
    const series = this.#of(service);
    series.touchedMs = this.clock.nowMs();
    if (!ok) {
      series.failed++;
      return;
    }
    series.connected++;
    series.open++;
    series.connectTimes.record(ms * 1000);
  }

  /** Of a connection that had been opened. */
  onClose(service: string): void {
    this.#of(service).open--;
  }

  onPending(service: string, change: 1 | -1): void {
    this.#of(service).pending += change;
  }

  #of(service: string): ServiceSeries {
    if (this.#last.name === service) return this.#last;
    let series = this.#services.get(service);
    if (series === undefined) {
      const name = this.#services.size < SERVICES_MAX ? service : OVERFLOW_LABEL;
      series = this.#services.get(name);
      if (series === undefined) {
        series = new ServiceSeries(name);
        series.touchedMs = this.clock.nowMs();
        this.#services.set(name, series);
      }
    }
    this.#last = series;
    return series;
  }

  drain(dump: DumpBuilder): void {
    const idleBeforeMs = this.clock.nowMs() - IDLE_MS;
    for (const [name, series] of this.#services) {
      const labels = [name];
      dump.counter("upstreamAttempts", labels, series.attempts);
      dump.counter("upstreamConnects", [name, "ok"], series.connected);
      dump.counter("upstreamConnects", [name, "failed"], series.failed);
      series.attempts = 0;
      series.connected = 0;
      series.failed = 0;
      dump.gauge("upstreamConnections", labels, series.open);
      dump.gauge("upstreamPending", labels, series.pending);
      dump.histogram("upstreamConnectDuration", labels, series.connectTimes);
      dump.histogram("upstreamFirstByte", labels, series.firstBytes);
      if (series.touchedMs >= idleBeforeMs || series.open > 0 || series.pending > 0) continue;
      this.#services.delete(name);
      if (this.#last === series) this.#last = new ServiceSeries("");
    }
  }
}
