import type { MeshConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import { EventLog } from "../../core/events.ts";
import type { Failure } from "../../core/failure.ts";
import { FilterLogs } from "../../core/filter-logs.ts";
import type { Log } from "../../core/log.ts";
import type { Rng } from "../../core/rng.ts";
import type { FilterMetrics } from "../../filters/contract.ts";
import { AccessLog } from "./access-log.ts";
import type { MetricsDump } from "./dump.ts";
import type { LogPlaces } from "./log-place.ts";
import type { ExchangeRecord, Observer, StreamRecord } from "./record.ts";
import { MetricsRecorder } from "./recorder.ts";
import { SpanExporter } from "./spans/exporter.ts";

/** Everything one proxy process observes: metrics, access log and spans behind the one `Observer` that the data plane knows. */
export class ProxyObserver implements Observer {
  readonly metrics: MetricsRecorder;
  readonly accessLog: AccessLog;
  readonly spans: SpanExporter;

  /** `logPlaces`: which files the access log may be; default: any. */
  constructor(
    clock: Clock,
    rng: Rng,
    log: Log,
    logPlaces?: LogPlaces,
    /** Where what happens in this process is kept. */
    readonly events: EventLog = new EventLog(clock),
    /** Where what filters say is kept. */
    readonly filterLogs: FilterLogs = new FilterLogs(clock),
    /** The proxy's id, for its spans. */
    instance = "",
  ) {
    this.metrics = new MetricsRecorder(clock, events);
    this.accessLog = new AccessLog(clock, rng, log.for("access-log"), logPlaces);
    this.spans = new SpanExporter(clock, log.for("tracing"), instance);
  }

  /** For the filter host. */
  get filterMetrics(): FilterMetrics {
    return this.metrics.filters;
  }

  /** Settings of the snapshot that now serves. */
  configure(mesh: Pick<MeshConfig, "accessLog" | "tracing">): void {
    this.accessLog.configure(mesh.accessLog);
    this.spans.configure(mesh);
  }

  onExchangeStart(): void {
    this.metrics.onExchangeStart();
  }
  onExchangeEnd(record: ExchangeRecord): void {
    this.metrics.onExchangeEnd(record);
    this.accessLog.onExchangeEnd(record);
    this.spans.onExchangeEnd(record);
  }
  onStreamStart(record: StreamRecord): void {
    this.metrics.onStreamStart(record);
  }
  onStreamEnd(record: StreamRecord): void {
    this.metrics.onStreamEnd(record);
    this.accessLog.onStreamEnd(record);
  }
  onConnectionOpen(listener: string): void {
    this.metrics.onConnectionOpen(listener);
  }
  onConnectionClose(listener: string): void {
    this.metrics.onConnectionClose(listener);
  }
  onHandshake(listener: string, change: 1 | -1): void {
    this.metrics.onHandshake(listener, change);
  }
  onConnectionFailure(listener: string, failure: Failure): void {
    this.metrics.onConnectionFailure(listener, failure);
  }
  onUpstreamConnect(service: string, ok: boolean, ms: number): void {
    this.metrics.onUpstreamConnect(service, ok, ms);
  }
  onUpstreamClose(service: string): void {
    this.metrics.onUpstreamClose(service);
  }
  onPoolPending(service: string, change: 1 | -1): void {
    this.metrics.onPoolPending(service, change);
  }
  onContained(): void {
    this.metrics.onContained();
  }

  /** What was observed since the last call. */
  drain(): MetricsDump {
    const dump = this.metrics.drain();
    const { lines, dropped } = this.accessLog.takeCounts();
    const counters = [...dump.counters];
    if (lines > 0) counters.push(["accessLogLines", [], lines]);
    if (dropped > 0) counters.push(["accessLogDropped", [], dropped]);
    const spans = this.spans.takeCounts();
    if (spans.sent > 0) counters.push(["traceSpans", ["sent"], spans.sent]);
    if (spans.dropped > 0) counters.push(["traceSpans", ["dropped"], spans.dropped]);
    return { ...dump, counters };
  }
}
