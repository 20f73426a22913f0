import { type ConfigIssue, formatIssue } from "../config/issue.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { SnapshotSource, SnapshotUpdate } from "../config/source.ts";
import type { Clock } from "../core/clock.ts";
import type { ProxyEvent } from "../core/events.ts";
import type { FilterLogPage, FilterLogQuery } from "../core/filter-logs.ts";
import { DRAIN_TIMES } from "../core/limits.ts";
import type { Log } from "../core/log.ts";
import type { FilterAction } from "../filters/contract.ts";
import { type MetricFamily, MetricsAggregator } from "../proxy/observe/aggregator.ts";
import type { ProxyObserver } from "../proxy/observe/observer.ts";
import type { DataPlane } from "./data-plane.ts";
import { type HostStatus, hasFilter, type ProxyHost } from "./host.ts";
import { noteRefusal, refusedText, refuseLog, SOURCE_SUBJECT } from "./messages.ts";
import { processUsage } from "./usage.ts";

export interface StandaloneOptions {
  readonly id: string;
  readonly version: string;
  readonly mode: "gateway" | "sidecar";
  readonly dataPlane: DataPlane;
  readonly observer: ProxyObserver;
  readonly source: SnapshotSource;
  readonly sourceState: () => unknown;
  readonly clock: Clock;
  readonly log: Log;
}

/** How often metrics are added up when nobody scrapes, so that differences stay small. */
const COLLECT_MS = 10_000;
const LOGGED_ISSUES = 10;

/** A proxy of one process: a sidecar, or a gateway where the runtime cannot share memory (Deno). */
export class Standalone implements ProxyHost {
  readonly #totals: MetricsAggregator;
  readonly #startedMs: number;
  #applied: Snapshot | undefined;
  #newestRevision = 0;
  #issues: readonly ConfigIssue[] = [];
  /** Why what the source has now is no snapshot; empty: it is one. */
  #sourceIssues: readonly ConfigIssue[] = [];
  #queue: SnapshotUpdate | undefined;
  #taking: Promise<void> | undefined;
  #draining: Promise<void> | undefined;
  #stopped = false;
  #cpuUs = 0;

  constructor(readonly options: StandaloneOptions) {
    this.#totals = new MetricsAggregator(options.clock);
    this.#startedMs = options.clock.nowMs();
  }

  async start(): Promise<void> {
    this.#scheduleCollect();
    await this.options.source.start(
      (update) => this.#onSnapshot(update),
      (issues) => this.#onSourceRefused(issues),
    );
    await this.#taking;
  }

  get ready(): boolean {
    return this.notReadyReason === "";
  }
  get notReadyReason(): string {
    if (this.#draining !== undefined || this.#stopped) return "draining";
    return this.#applied === undefined ? "no configuration was applied yet" : "";
  }
  snapshot(): Snapshot | undefined {
    return this.#applied;
  }

  #onSnapshot(update: SnapshotUpdate): void {
    this.#queue = update;
    this.#newestRevision = update.snapshot.revision;
    this.#taking ??= this.#takeQueue().finally(() => {
      this.#taking = undefined;
    });
  }

  #onSourceRefused(issues: readonly ConfigIssue[]): void {
    const { metrics, events } = this.options.observer;
    this.#sourceIssues = issues;
    if (issues.length === 0) return;
    metrics.onConfigRejected();
    noteRefusal(events, SOURCE_SUBJECT, issues);
  }

  async #takeQueue(): Promise<void> {
    while (this.#queue !== undefined) {
      const update = this.#queue;
      this.#queue = undefined;
      await this.#take(update);
    }
  }

  async #take(update: SnapshotUpdate): Promise<void> {
    const { clock, dataPlane, observer, source } = this.options;
    const { revision, digest, mesh } = update.snapshot;
    const startMs = clock.nowMs();
    const refused = refuseLog(observer, mesh.accessLog);
    const issues = refused.length > 0 ? refused : await dataPlane.apply(update);
    const applyMs = clock.nowMs() - startMs;
    this.#issues = issues;
    if (issues.length > 0) {
      observer.metrics.onConfigRejected();
      noteRefusal(observer.events, `revision ${revision}`, issues);
      source.report({ kind: "rejected", revision, digest, issues });
      this.options.log.warn(refusedText(this.#applied !== undefined), {
        revision,
        issues: issues.slice(0, LOGGED_ISSUES).map(formatIssue),
      });
      return;
    }
    const settled = this.#applied?.mesh === mesh;
    this.#applied = update.snapshot;
    if (!settled) observer.configure(mesh);
    const latencyMs = update.publishedAtMs === undefined ? undefined : Math.max(0, clock.wallMs() - update.publishedAtMs);
    observer.metrics.onConfigApplied(revision, applyMs, latencyMs);
    source.report({ kind: "applied", revision, digest, applyMs });
  }

  #scheduleCollect(): void {
    this.options.clock.setTimer(COLLECT_MS, () => {
      if (this.#stopped) return;
      this.#collect();
      this.#scheduleCollect();
    });
  }

  #collect(): void {
    const { residentBytes, cpuUs } = processUsage();
    const dump = this.options.observer.drain();
    const gauges = [...dump.gauges, ["residentBytes", ["proxy"], residentBytes] as const, ["workers", [], 1] as const];
    this.#totals.add("proxy", { ...dump, gauges });
    this.#totals.count("cpuSeconds", ["proxy"], (cpuUs - this.#cpuUs) / 1e6);
    this.#cpuUs = cpuUs;
  }

  async metrics(): Promise<readonly MetricFamily[]> {
    this.#collect();
    return this.#totals.families();
  }

  async events(): Promise<readonly ProxyEvent[]> {
    return this.options.observer.events.list();
  }

  async filterLogs(query: FilterLogQuery): Promise<FilterLogPage | undefined> {
    const { filterLogs } = this.options.observer;
    return hasFilter(this.#applied, query.filter) || filterLogs.has(query.filter) ? filterLogs.read(query) : undefined;
  }

  async status(): Promise<HostStatus> {
    const { id, version, mode, clock, dataPlane, observer, sourceState } = this.options;
    const revision = this.#applied?.revision ?? 0;
    return {
      id,
      version,
      mode,
      ready: this.ready,
      reason: this.notReadyReason,
      uptimeMs: Math.round(clock.nowMs() - this.#startedMs),
      revision: this.#newestRevision,
      appliedRevision: revision,
      digest: this.#applied?.digest ?? "",
      issues: this.#sourceIssues.length > 0 ? this.#sourceIssues : this.#issues,
      inFlight: observer.metrics.inFlight,
      source: sourceState(),
      workers: [
        {
          index: 0,
          pid: process.pid,
          running: true,
          revision,
          replaced: 0,
          inFlight: observer.metrics.inFlight,
          residentBytes: processUsage().residentBytes,
          dataPlane: dataPlane.status(),
        },
      ],
    };
  }

  controlFilter(filter: string, action: FilterAction): number | undefined {
    if (!hasFilter(this.#applied, filter)) return undefined;
    this.options.dataPlane.controlFilter(filter, action);
    return 1;
  }

  reopenLogs(): void {
    this.options.observer.accessLog.reopen();
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drainAll();
    return this.#draining;
  }

  async #drainAll(): Promise<void> {
    const { clock, source, dataPlane, observer } = this.options;
    observer.events.add("draining", "proxy", "it was asked to stop");
    await source.stop();
    // Load balancers in front of us must see that we are not ready before connections are refused.
    await new Promise<void>((resolve) => void clock.setTimer(DRAIN_TIMES.readyFailMs, resolve));
    if (!this.#stopped) await dataPlane.drain();
    if (!this.#stopped) await observer.spans.close();
    await this.stop();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.options.source.stop();
    await this.options.dataPlane.stop();
    this.options.observer.spans.abandon();
    await this.options.observer.accessLog.close();
  }
}
