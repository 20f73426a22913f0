import { type ConfigIssue, formatIssue } from "../config/issue.ts";
import { splitSections } from "../config/sections.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { SnapshotOutcome, SnapshotSource, SnapshotUpdate } from "../config/source.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { isSameData } from "../core/equal.ts";
import type { EventLog, ProxyEvent } from "../core/events.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterLogPage, FilterLogQuery, FilterLogs } from "../core/filter-logs.ts";
import { DRAIN_TIMES } from "../core/limits.ts";
import type { Log } from "../core/log.ts";
import type { FilterAction } from "../filters/contract.ts";
import { type MetricFamily, MetricsAggregator } from "../proxy/observe/aggregator.ts";
import { DumpBuilder } from "../proxy/observe/dump.ts";
import { type HostStatus, hasFilter, type ProxyHost, type WorkerStatus } from "./host.ts";
import { localIssue, noteRefusal, refusedText, SOURCE_SUBJECT } from "./messages.ts";
import { type SlotDelivery, type SpawnWorker, WORKER_TIMES, WorkerSlot } from "./worker-slot.ts";

/** How long a scrape waits for a worker before it uses what is known. */
const REPORT_MS = 1_000;
/** Beyond the grace times of the snapshot, until a worker that still drains is killed. */
const DRAIN_MARGIN_MS = 2_000;

const LOGGED_ISSUES = 10;

export interface SupervisorOptions {
  readonly id: string;
  readonly version: string;
  /** How many processes carry the traffic; ≥ 1. */
  readonly workers: number;
  readonly source: SnapshotSource;
  /** State of the source for /status. */
  readonly sourceState: () => unknown;
  readonly spawn: SpawnWorker;
  /** Puts the bytes of a module where workers find it. */
  readonly storeModule: (digest: string, bytes: Uint8Array) => void;
  /** Addresses of a snapshot that somebody else holds: workers share ports, so they would not notice. */
  readonly findTakenPorts: (snapshot: Snapshot, held: Snapshot | undefined) => Promise<readonly ConfigIssue[]>;
  readonly clock: Clock;
  readonly log: Log;
  readonly events: EventLog;
  /** What filters of all workers say is kept here. */
  readonly filterLogs: FilterLogs;
}

interface Delivered {
  readonly snapshot: Snapshot;
  readonly delivery: SlotDelivery;
}

/**
 * Gateway mode: N worker processes on the same ports. The supervisor holds the source of snapshots and the metrics, the workers
 * hold the traffic. A worker that dies or hangs is replaced; a snapshot counts as applied when every worker serves it.
 */
export class Supervisor implements ProxyHost {
  readonly metricsTotals: MetricsAggregator;
  readonly #slots: WorkerSlot[] = [];
  readonly #startedMs: number;
  /** What the workers are told to serve, and what they all serve. */
  #current: Delivered | undefined;
  #applied: Delivered | undefined;
  /** Workers that have not been told of it yet: the last ones. */
  #untold: WorkerSlot[] = [];
  #newestRevision = 0;
  #issues: readonly ConfigIssue[] = [];
  /** Why what the source has now is no snapshot; empty: it is one. */
  #sourceIssues: readonly ConfigIssue[] = [];
  #rejectedRevision = 0;
  #queue: SnapshotUpdate | undefined;
  /** Switched off by hand: a new worker must know. */
  readonly #disabledFilters = new Set<string>();
  #taking = false;
  #pollTimer: Timer | undefined;
  #draining: Promise<void> | undefined;
  #stopped = false;
  readonly #firstOutcome = Promise.withResolvers<void>();

  constructor(readonly options: SupervisorOptions) {
    const { clock } = options;
    this.#startedMs = clock.nowMs();
    this.metricsTotals = new MetricsAggregator(clock);
    const events = {
      onOutcome: () => this.#settleOutcome(),
      onPublish: (filter: string, subject: string, payload: Uint8Array) => this.#publish(filter, subject, payload),
      onReport: (slot: WorkerSlot, report: NonNullable<WorkerSlot["lastReport"]>) => {
        this.metricsTotals.add(`worker-${slot.index}`, report.dump);
        this.metricsTotals.count("cpuSeconds", [`worker-${slot.index}`], report.cpuUs / 1e6);
        options.events.merge(report.events, slot.index);
        if (report.filterLogs !== undefined) options.filterLogs.merge(report.filterLogs, slot.index);
      },
      onGone: (slot: WorkerSlot, reason: "crashed" | "hung" | "stopped", detail: string) => {
        this.metricsTotals.removeSource(`worker-${slot.index}`);
        if (reason === "stopped") return;
        this.metricsTotals.count("workerExits", [reason]);
        options.events.add("worker_replaced", `worker ${slot.index}`, `${reason}: ${detail}`);
      },
    };
    for (let i = 0; i < options.workers; i++) {
      this.#slots.push(new WorkerSlot(i, options.spawn, events, clock, options.log.for("supervisor")));
    }
  }

  async start(): Promise<void> {
    this.options.filterLogs.refresh = () => this.#pollAll(false);
    for (const slot of this.#slots) slot.start();
    this.#schedulePoll();
    await this.options.source.start(
      (update) => this.#onSnapshot(update),
      (issues) => this.#onSourceRefused(issues),
    );
    if (this.#newestRevision > 0) await this.#firstOutcome.promise;
  }

  get ready(): boolean {
    return this.notReadyReason === "";
  }

  get notReadyReason(): string {
    if (this.#draining !== undefined || this.#stopped) return "draining";
    if (this.#applied === undefined) return "no configuration was applied yet";
    return this.#slots.some((slot) => slot.serving) ? "" : "no worker is serving";
  }

  snapshot(): Snapshot | undefined {
    return this.#applied?.snapshot;
  }

  /** A worker runs what strangers wrote: what it sends for a filter is held against what the filter was granted. */
  #publish(filter: string, subject: string, payload: Uint8Array): void {
    const isGranted = [this.#current, this.#applied].some((each) =>
      each?.snapshot.filters.some(({ name, capabilities }) => name === filter && capabilities.nats?.publish.includes(subject)),
    );
    if (isGranted) this.options.source.publish?.(subject, payload);
  }

  #onSnapshot(update: SnapshotUpdate): void {
    this.#queue = update;
    this.#newestRevision = update.snapshot.revision;
    if (!this.#taking) void this.#takeQueue();
  }

  /** No worker hears of it, so none counts it. */
  #onSourceRefused(issues: readonly ConfigIssue[]): void {
    this.#sourceIssues = issues;
    if (issues.length === 0) return;
    this.metricsTotals.count("configApplies", ["rejected"], 1);
    noteRefusal(this.options.events, SOURCE_SUBJECT, issues);
  }

  async #takeQueue(): Promise<void> {
    this.#taking = true;
    while (this.#queue !== undefined) {
      const update = this.#queue;
      this.#queue = undefined;
      try {
        await this.#take(update);
      } catch (error) {
        this.#refuse(update.snapshot, [
          localIssue("internal", `The snapshot could not be handed to the workers: ${describeCause(error)}`, "This is a bug."),
        ]);
      }
    }
    this.#taking = false;
  }

  async #take(update: SnapshotUpdate): Promise<void> {
    const { snapshot } = update;
    const { options } = this;
    for (const [digest, bytes] of update.modules) options.storeModule(digest, bytes);
    const taken = await options.findTakenPorts(snapshot, this.#applied?.snapshot);
    if (taken.length > 0) {
      this.#refuse(snapshot, taken);
      return;
    }
    const { manifest, sections } = update.cut ?? splitSections(snapshot, update.publishedAtMs ?? 0);
    const former = this.#current?.delivery.sections;
    const texts = new Map<string, string>();
    for (const digest of Object.values(manifest.sections)) {
      const bytes = sections.get(digest);
      if (bytes !== undefined) texts.set(digest, former?.get(digest) ?? Buffer.from(bytes).toString("utf8"));
    }
    this.#deliver({ snapshot, delivery: { manifest, sections: texts } });
  }

  /** Where the start of a filter takes long, one worker after the other: the others go on serving, and a start that fails stays with one. */
  #deliver(current: Delivered): void {
    this.#current = current;
    const told = this.#applied !== undefined && hasCostlyStart(current.snapshot, this.#applied.snapshot) ? 1 : this.#slots.length;
    this.#untold = this.#slots.slice(told);
    for (const slot of this.#slots.slice(0, told)) tellSlot(slot, current);
  }

  /** Before any worker heard of it; a refusal of theirs they count themselves. */
  #refuse(snapshot: Snapshot, issues: readonly ConfigIssue[]): void {
    this.metricsTotals.count("configApplies", ["rejected"], 1);
    this.#reject(snapshot, issues);
  }

  #reject(snapshot: Snapshot, issues: readonly ConfigIssue[]): void {
    this.#issues = issues;
    this.#rejectedRevision = snapshot.revision;
    const { revision, digest } = snapshot;
    noteRefusal(this.options.events, `revision ${revision}`, issues);
    this.options.source.report({ kind: "rejected", revision, digest, issues });
    this.options.log.warn(refusedText(this.#applied !== undefined), {
      revision,
      issues: issues.slice(0, LOGGED_ISSUES).map(formatIssue),
    });
    this.#firstOutcome.resolve();
  }

  /**
   * Once every worker that was told answered: applied when all have, and then the next one is told; rejected when one did not. Workers that
   * are being replaced answer later.
   */
  #settleOutcome(): void {
    const current = this.#current;
    if (current === undefined || current === this.#applied) return;
    const outcomes: SnapshotOutcome[] = [];
    const told = this.#slots.slice(0, this.#slots.length - this.#untold.length);
    for (const slot of told) {
      if (slot.outcome === undefined) return;
      outcomes.push(slot.outcome);
    }
    const { snapshot } = current;
    const issues = uniqueIssues(outcomes);
    if (issues.length > 0) {
      if (this.#rejectedRevision !== snapshot.revision) this.#reject(snapshot, issues);
      const good = this.#applied;
      if (good === undefined) return;
      this.#current = good;
      this.#untold = [];
      for (const slot of told) slot.fallBack(good.delivery);
      return;
    }
    const next = this.#untold.shift();
    if (next !== undefined) {
      tellSlot(next, current);
      return;
    }
    this.#applied = current;
    this.#issues = [];
    const applyMs = Math.max(...outcomes.map((outcome) => (outcome.kind === "applied" ? outcome.applyMs : 0)));
    this.options.source.report({ kind: "applied", revision: snapshot.revision, digest: snapshot.digest, applyMs });
    this.#firstOutcome.resolve();
  }

  #schedulePoll(): void {
    this.#pollTimer = this.options.clock.setTimer(WORKER_TIMES.pollMs, () => {
      for (const slot of this.#slots) void slot.poll(false, WORKER_TIMES.pollMs);
      this.#schedulePoll();
    });
  }

  #pollAll(full: boolean): Promise<unknown> {
    return Promise.all(this.#slots.map((slot) => slot.poll(full, REPORT_MS)));
  }

  async metrics(): Promise<readonly MetricFamily[]> {
    await this.#pollAll(false);
    const own = new DumpBuilder();
    own.gauge("workers", [], this.#slots.filter((slot) => slot.serving).length);
    own.gauge("residentBytes", ["supervisor"], process.memoryUsage.rss());
    for (const slot of this.#slots) {
      if (slot.running && slot.lastReport !== undefined)
        own.gauge("residentBytes", [`worker-${slot.index}`], slot.lastReport.residentBytes);
    }
    this.metricsTotals.add("supervisor", own);
    return this.metricsTotals.families();
  }

  async events(): Promise<readonly ProxyEvent[]> {
    await this.#pollAll(false);
    return this.options.events.list();
  }

  async filterLogs(query: FilterLogQuery): Promise<FilterLogPage | undefined> {
    const { filterLogs } = this.options;
    const page = await filterLogs.read(query);
    return hasFilter(this.#applied?.snapshot, query.filter) || filterLogs.has(query.filter) ? page : undefined;
  }

  async status(): Promise<HostStatus> {
    await this.#pollAll(true);
    const { id, version, clock, sourceState } = this.options;
    const workers = this.#slots.map(workerStatus);
    return {
      id,
      version,
      mode: "gateway",
      ready: this.ready,
      reason: this.notReadyReason,
      uptimeMs: Math.round(clock.nowMs() - this.#startedMs),
      revision: this.#newestRevision,
      appliedRevision: this.#applied?.snapshot.revision ?? 0,
      digest: this.#applied?.snapshot.digest ?? "",
      issues: this.#sourceIssues.length > 0 ? this.#sourceIssues : this.#issues,
      inFlight: workers.reduce((sum, worker) => sum + worker.inFlight, 0),
      source: sourceState(),
      workers,
    };
  }

  controlFilter(filter: string, action: FilterAction): number | undefined {
    if (!hasFilter(this.#applied?.snapshot, filter)) return undefined;
    if (action === "disable") this.#disabledFilters.add(filter);
    if (action === "enable") this.#disabledFilters.delete(filter);
    const standing = [...this.#disabledFilters].map((each) => ({ type: "filter", filter: each, action: "disable" }) as const);
    for (const slot of this.#slots) {
      slot.standing = standing;
      slot.tell({ type: "filter", filter, action });
      // What the worker says of it is passed on now, not with the next poll.
      void slot.poll(false, REPORT_MS);
    }
    return this.#slots.filter(({ running }) => running).length;
  }

  reopenLogs(): void {
    for (const slot of this.#slots) slot.tell({ type: "reopen" });
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drainAll();
    return this.#draining;
  }

  async #drainAll(): Promise<void> {
    const { clock, source, log, events } = this.options;
    events.add("draining", "proxy", "it was asked to stop");
    this.#pollTimer?.cancel();
    await source.stop();
    // Load balancers in front of us must see that we are not ready before connections are refused.
    await new Promise<void>((resolve) => clock.setTimer(DRAIN_TIMES.readyFailMs, resolve));
    if (this.#stopped) return;
    const drain = this.#applied?.snapshot.mesh.drain ?? DRAIN_TIMES;
    const limitMs = drain.graceMs + drain.tunnelGraceMs + DRAIN_MARGIN_MS;
    const late = clock.setTimer(limitMs, () => {
      log.warn("workers did not finish in time; they are killed", { limitMs });
      for (const slot of this.#slots) void slot.kill();
    });
    await Promise.all(this.#slots.map((slot) => slot.drain()));
    late.cancel();
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#pollTimer?.cancel();
    this.#firstOutcome.resolve();
    await Promise.all([this.options.source.stop(), ...this.#slots.map((slot) => slot.stop())]);
  }
}

function workerStatus(slot: WorkerSlot): WorkerStatus {
  return {
    index: slot.index,
    pid: slot.pid,
    running: slot.running,
    revision: slot.outcome?.kind === "applied" ? slot.outcome.revision : 0,
    replaced: slot.replaced,
    inFlight: slot.running ? (slot.lastReport?.inFlight ?? 0) : 0,
    residentBytes: slot.running ? (slot.lastReport?.residentBytes ?? 0) : 0,
    dataPlane: slot.lastReport?.status,
  };
}

/** Some 0.1 to 0.5 seconds in which a worker serves nobody. */
const COSTLY_START_FUEL = 1_000_000_000;

/** A filter that takes long to start is new, or changed: what is as it was goes on as it is. */
function hasCostlyStart(next: Snapshot, former: Snapshot): boolean {
  const costly = next.filters.filter(({ budget, disabled }) => budget.startFuel >= COSTLY_START_FUEL && disabled !== true);
  if (costly.length === 0) return false;
  const known = new Map(former.filters.map((filter) => [filter.name, filter]));
  return costly.some((filter) => !isSameData(filter, known.get(filter.name)));
}

function tellSlot(slot: WorkerSlot, { snapshot, delivery }: Delivered): void {
  slot.deliver(delivery, Math.max(0, ...snapshot.filters.map(({ budget }) => budget.startFuel)));
}

/** All workers refuse for the same reasons, mostly: each is said once. */
function uniqueIssues(outcomes: readonly SnapshotOutcome[]): ConfigIssue[] {
  const seen = new Map<string, ConfigIssue>();
  for (const outcome of outcomes) {
    if (outcome.kind !== "rejected") continue;
    for (const issue of outcome.issues) seen.set(JSON.stringify(issue), issue);
  }
  return [...seen.values()];
}
