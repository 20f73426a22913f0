import type { Clock } from "../../core/clock.ts";
import { EventLog } from "../../core/events.ts";
import { FAILURES, type Failure, type FailureCode } from "../../core/failure.ts";
import { LogHistogram, TIME_SCALE } from "../../core/histogram.ts";
import { DumpBuilder, type MetricsDump } from "./dump.ts";
import { FilterMetricsTable } from "./filter-metrics.ts";
import { CODES_PER_PAIR_MAX, OVERFLOW_LABEL, PAIRS_MAX } from "./metric-names.ts";
import type { ExchangeRecord, Observer, StreamRecord } from "./record.ts";
import { ServiceTable } from "./service-table.ts";
import { StreamTable } from "./stream-table.ts";

/** Series that nothing happened to for this long are forgotten: their differences were dumped, so no total suffers. */
const IDLE_MS = 10 * 60_000;
const NO_FLAG = "-";
const LISTENERS_MAX = 256;

/** Status and failure of an exchange as one number: the status times 64 plus the row of the failure table. */
const CODE_FACTOR = 64;
const FAILURE_CODES = Object.keys(FAILURES) as FailureCode[];
const FAILURE_INDEX = new Map(FAILURE_CODES.map((code, i) => [code, i + 1]));
const OVERFLOW_KEY = -1;

class CodeCounter {
  count = 1;
}

class PairSeries {
  readonly codes = new Map<number, CodeCounter>();
  readonly durations = new LogHistogram(TIME_SCALE);
  requestBytes = 0;
  responseBytes = 0;
  touchedMs = 0;

  constructor(
    readonly route: string,
    readonly service: string,
  ) {}
}

class ListenerSeries {
  opened = 0;
  open = 0;
  handshakes = 0;
  readonly failures = new Map<FailureCode, number>();
}

/**
 * The metrics of one process: plain objects found by two map look-ups per exchange, none when it is like the one before.
 * Nothing here formats, allocates per request or knows Prometheus.
 */
export class MetricsRecorder implements Observer {
  readonly filters: FilterMetricsTable;
  readonly #clock: Clock;
  readonly #routes = new Map<string, Map<string, PairSeries>>();
  #pairs = 0;
  #last = new PairSeries("", "");
  readonly #listeners = new Map<string, ListenerSeries>();
  readonly #services: ServiceTable;
  readonly #streams: StreamTable;
  #inFlight = 0;
  #contained = 0;
  #revision = 0;
  #applied = 0;
  #rejected = 0;
  readonly #applyTimes = new LogHistogram(TIME_SCALE);
  readonly #latencies = new LogHistogram(TIME_SCALE);

  constructor(clock: Clock, events: EventLog = new EventLog(clock)) {
    this.#clock = clock;
    this.filters = new FilterMetricsTable(events);
    this.#services = new ServiceTable(clock);
    this.#streams = new StreamTable(clock);
  }

  /** Exchanges under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  onExchangeStart(): void {
    this.#inFlight++;
  }

  onExchangeEnd(record: ExchangeRecord): void {
    this.#inFlight--;
    let pair = this.#last;
    if (pair.route !== record.routeName || pair.service !== record.serviceName || pair.touchedMs === 0) {
      pair = this.#pairOf(record.routeName, record.serviceName);
      this.#last = pair;
    }
    pair.touchedMs = record.endMs;
    pair.requestBytes += record.requestBytes;
    pair.responseBytes += record.responseBytes;
    if (!record.tunnel) pair.durations.record((record.endMs - record.startMs) * 1000);
    const { failure } = record;
    const key = record.status * CODE_FACTOR + (failure === undefined ? 0 : (FAILURE_INDEX.get(failure.code) as number));
    const code = pair.codes.get(key);
    if (code === undefined) countNewCode(pair, key);
    else code.count++;
    if (record.serviceName !== "") this.#services.onExchangeEnd(record);
  }

  #pairOf(route: string, service: string): PairSeries {
    let byService = this.#routes.get(route);
    let pair = byService?.get(service);
    if (pair !== undefined) return pair;
    if (this.#pairs >= PAIRS_MAX && route !== OVERFLOW_LABEL) return this.#pairOf(OVERFLOW_LABEL, OVERFLOW_LABEL);
    if (byService === undefined) {
      byService = new Map();
      this.#routes.set(route, byService);
    }
    pair = new PairSeries(route, service);
    byService.set(service, pair);
    this.#pairs++;
    return pair;
  }

  onStreamStart(record: StreamRecord): void {
    this.#streams.onStart(record);
  }
  onStreamEnd(record: StreamRecord): void {
    this.#streams.onEnd(record);
    if (record.serviceName !== "") this.#services.onStreamEnd(record);
  }

  onConnectionOpen(listener: string): void {
    const series = this.#listenerOf(listener);
    series.opened++;
    series.open++;
  }
  onHandshake(listener: string, change: 1 | -1): void {
    this.#listenerOf(listener).handshakes += change;
  }
  onConnectionClose(listener: string): void {
    this.#listenerOf(listener).open--;
  }
  onConnectionFailure(listener: string, failure: Failure): void {
    const { failures } = this.#listenerOf(listener);
    failures.set(failure.code, (failures.get(failure.code) ?? 0) + 1);
  }

  #listenerOf(listener: string): ListenerSeries {
    let series = this.#listeners.get(listener);
    if (series !== undefined) return series;
    const name = this.#listeners.size < LISTENERS_MAX ? listener : OVERFLOW_LABEL;
    series = this.#listeners.get(name) ?? new ListenerSeries();
    this.#listeners.set(name, series);
    return series;
  }

  onUpstreamConnect(service: string, ok: boolean, ms: number): void {
    this.#services.onConnect(service, ok, ms);
  }
  onUpstreamClose(service: string): void {
    this.#services.onClose(service);
  }
  onPoolPending(service: string, change: 1 | -1): void {
    this.#services.onPending(service, change);
  }

  onContained(): void {
    this.#contained++;
  }

  /** A generation serves now. `latencyMs`: since the change was published; undefined when that is unknown. */
  onConfigApplied(revision: number, applyMs: number, latencyMs: number | undefined): void {
    this.#revision = revision;
    this.#applied++;
    this.#applyTimes.record(applyMs * 1000);
    if (latencyMs !== undefined) this.#latencies.record(latencyMs * 1000);
  }
  onConfigRejected(): void {
    this.#rejected++;
  }

  /** What was observed since the last call; the caller owns it. */
  drain(): MetricsDump {
    const dump = new DumpBuilder();
    this.#drainPairs(dump);
    this.#drainListeners(dump);
    this.#services.drain(dump);
    this.#streams.drain(dump);
    this.filters.drain(dump);
    dump.gauge("inFlight", [], this.#inFlight);
    dump.counter("containedBugs", [], this.#contained);
    this.#contained = 0;
    dump.gauge("configRevision", [], this.#revision);
    dump.counter("configApplies", ["applied"], this.#applied);
    dump.counter("configApplies", ["rejected"], this.#rejected);
    this.#applied = 0;
    this.#rejected = 0;
    dump.histogram("configApplyDuration", [], this.#applyTimes);
    dump.histogram("configLatency", [], this.#latencies);
    return dump;
  }

  #drainPairs(dump: DumpBuilder): void {
    const idleBeforeMs = this.#clock.nowMs() - IDLE_MS;
    for (const [route, byService] of this.#routes) {
      for (const [service, pair] of byService) {
        const labels = [route, service];
        for (const [key, code] of pair.codes) {
          dump.counter("requests", [route, service, ...codeLabels(key)], code.count);
          code.count = 0;
        }
        dump.counter("requestBytes", labels, pair.requestBytes);
        dump.counter("responseBytes", labels, pair.responseBytes);
        pair.requestBytes = 0;
        pair.responseBytes = 0;
        dump.histogram("requestDuration", labels, pair.durations);
        if (pair.touchedMs < idleBeforeMs) this.#forget(byService, pair);
      }
      if (byService.size === 0) this.#routes.delete(route);
    }
  }

  #forget(byService: Map<string, PairSeries>, pair: PairSeries): void {
    byService.delete(pair.service);
    this.#pairs--;
    if (this.#last === pair) this.#last = new PairSeries("", "");
  }

  #drainListeners(dump: DumpBuilder): void {
    for (const [listener, series] of this.#listeners) {
      dump.counter("connectionsTotal", [listener], series.opened);
      series.opened = 0;
      dump.gauge("connections", [listener], series.open);
      dump.gauge("handshakes", [listener], series.handshakes);
      for (const [code, count] of series.failures) dump.counter("connectionFailures", [listener, code], count);
      series.failures.clear();
    }
  }
}

function countNewCode(pair: PairSeries, key: number): void {
  if (pair.codes.size < CODES_PER_PAIR_MAX) {
    pair.codes.set(key, new CodeCounter());
    return;
  }
  const overflow = pair.codes.get(OVERFLOW_KEY);
  if (overflow === undefined) pair.codes.set(OVERFLOW_KEY, new CodeCounter());
  else overflow.count++;
}

function codeLabels(key: number): [string, string] {
  if (key === OVERFLOW_KEY) return [OVERFLOW_LABEL, OVERFLOW_LABEL];
  const code = FAILURE_CODES[(key % CODE_FACTOR) - 1];
  return [String(Math.floor(key / CODE_FACTOR)), code === undefined ? NO_FLAG : FAILURES[code].flag];
}
