import type { Manifest } from "../config/sections.ts";
import type { SnapshotOutcome } from "../config/source.ts";
import type { Clock, Timer } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { FromWorker, ToWorker, WorkerReport } from "./messages.ts";

/** A running worker process as the supervisor holds it. */
export interface WorkerProcess {
  readonly pid: number;
  /** False when the pipe is gone. */
  send(message: ToWorker): boolean;
  kill(): void;
}

/** Starts a worker; the callbacks come later, `onExit` exactly once and last. */
export type SpawnWorker = (
  index: number,
  onMessage: (message: FromWorker) => void,
  onExit: (reason: string) => void,
) => WorkerProcess;

/** How workers are watched and replaced. */
export const WORKER_TIMES = {
  /** How often a worker is asked whether it lives. */
  pollMs: 1_000,
  /** A worker that does not answer for this long hangs: it is killed and replaced. */
  hungMs: 5_000,
  /** A new worker has this long until it first answers, and so has one that is told of a snapshot: it may have to build 10,000 routes. */
  startMs: 30_000,
  /** A filter starts on the thread that serves: cold code uses so much fuel in a millisecond at least, so that `startFuel` is time in which no answer comes. */
  startFuelPerMs: 2_000_000,
  /** First delay before a worker that died is replaced; doubles up to `backoffMaxMs`. */
  backoffMinMs: 50,
  backoffMaxMs: 10_000,
  /** A worker that lived this long starts the back-off anew. */
  stableMs: 30_000,
  /** A worker that stops at once has this long to write its access log out, then it is killed. */
  stopMs: 1_000,
} as const;

/** The newest snapshot, cut for the pipe. */
export interface SlotDelivery {
  readonly manifest: Manifest;
  /** Text by digest. */
  readonly sections: ReadonlyMap<string, string>;
}

export interface SlotEvents {
  onOutcome(slot: WorkerSlot, outcome: SnapshotOutcome): void;
  onPublish(filter: string, subject: string, payload: Uint8Array): void;
  onReport(slot: WorkerSlot, report: WorkerReport): void;
  /** `detail`: how the process ended, in the system's words. */
  onGone(slot: WorkerSlot, reason: "crashed" | "hung" | "stopped", detail: string): void;
}

/** One place for a worker: keeps a process in it, watches it, and replaces it with back-off. */
export class WorkerSlot {
  #process: WorkerProcess | undefined;
  #ready = false;
  #delivery: SlotDelivery | undefined;
  #known: ReadonlySet<string> = new Set();
  #startedMs = 0;
  #answeredMs = 0;
  #askedMs = 0;
  #backoffMs: number = WORKER_TIMES.backoffMinMs;
  #respawn: Timer | undefined;
  #stopping = false;
  #killedAsHung = false;
  #requests = 0;
  #waiting = new Map<number, (report: WorkerReport | undefined) => void>();
  #waitingExit: (() => void)[] = [];
  /** What became of the newest snapshot here; undefined: no answer yet. */
  outcome: SnapshotOutcome | undefined;
  /** The process that is here now has a generation, whichever. */
  serving = false;
  lastReport: WorkerReport | undefined;
  /** How often the process was replaced. */
  replaced = 0;
  /** What every new process is told before its first snapshot. */
  standing: readonly ToWorker[] = [];
  /** Longest that the start of one of its filters may take. */
  #filterStartMs = 0;

  constructor(
    readonly index: number,
    readonly spawn: SpawnWorker,
    readonly events: SlotEvents,
    readonly clock: Clock,
    readonly log: Log,
  ) {}

  /** Id of the process, 0 while there is none. */
  get pid(): number {
    return this.#process?.pid ?? 0;
  }
  get running(): boolean {
    return this.#process !== undefined;
  }

  start(): void {
    this.#startedMs = this.clock.nowMs();
    this.#answeredMs = this.#startedMs;
    this.#askedMs = this.#startedMs;
    this.#ready = false;
    this.#known = new Set();
    this.#killedAsHung = false;
    this.outcome = undefined;
    const process = this.spawn(
      this.index,
      (message) => this.#onMessage(message),
      (reason) => this.#onExit(reason),
    );
    this.#process = process;
  }

  /** The newest snapshot: sent now, and to every later process in this place. `startFuel`: the most that one of its filters has for its start. */
  deliver(delivery: SlotDelivery, startFuel = 0): void {
    this.#delivery = delivery;
    this.#filterStartMs = startFuel / WORKER_TIMES.startFuelPerMs;
    this.outcome = undefined;
    if (this.#ready) this.#send(delivery);
  }

  /**
   * The newest snapshot was refused: the one before it serves on, and is what later processes start with. A process that had
   * taken the newest already gets the old content as that revision, because a proxy refuses to go back to an older one.
   */
  fallBack(good: SlotDelivery): void {
    const { revision, digest } = good.manifest;
    const takenBack = this.outcome?.kind === "applied" ? this.#delivery?.manifest.revision : undefined;
    this.#delivery = good;
    this.outcome = { kind: "applied", revision, digest, applyMs: 0 };
    if (takenBack !== undefined) this.#send({ ...good, manifest: { ...good.manifest, revision: takenBack } });
  }

  #send({ manifest, sections }: SlotDelivery): void {
    const missing: Record<string, string> = {};
    const digests = new Set(Object.values(manifest.sections));
    for (const digest of digests) {
      const text = sections.get(digest);
      if (!this.#known.has(digest) && text !== undefined) missing[digest] = text;
    }
    this.#known = digests;
    this.#process?.send({ type: "snapshot", manifest, sections: missing });
  }

  tell(message: ToWorker): void {
    this.#process?.send(message);
  }

  #onMessage(message: FromWorker): void {
    this.#answeredMs = this.clock.nowMs();
    switch (message.type) {
      case "ready":
        this.#ready = true;
        for (const message of this.standing) this.tell(message);
        if (this.#delivery !== undefined) this.#send(this.#delivery);
        break;
      case "outcome":
        if (message.outcome.kind === "applied") this.serving = true;
        if (message.outcome.revision === this.#delivery?.manifest.revision) this.outcome = message.outcome;
        this.events.onOutcome(this, message.outcome);
        break;
      case "report":
        this.#onReport(message.request, message.report);
        break;
      case "publish":
        this.events.onPublish(message.filter, message.subject, Buffer.from(message.payload, "base64"));
        break;
      case "drained":
        break;
    }
  }

  #onReport(request: number, report: WorkerReport): void {
    this.lastReport = report.status === undefined ? { ...report, status: this.lastReport?.status } : report;
    this.events.onReport(this, report);
    this.#waiting.get(request)?.(report);
  }

  /** Asks for a report; undefined when none comes in time. A worker that has not answered for too long is killed here. */
  poll(full: boolean, timeoutMs: number): Promise<WorkerReport | undefined> {
    const process = this.#process;
    if (process === undefined) return Promise.resolve(undefined);
    this.#killIfHung(process);
    const request = ++this.#requests;
    return new Promise((resolve) => {
      const settle = (report: WorkerReport | undefined): void => {
        timer.cancel();
        this.#waiting.delete(request);
        resolve(report);
      };
      const timer = this.clock.setTimer(timeoutMs, () => settle(undefined));
      this.#waiting.set(request, settle);
      if (!process.send({ type: "poll", request, full })) settle(undefined);
    });
  }

  #killIfHung(process: WorkerProcess): void {
    const nowMs = this.clock.nowMs();
    // Time in which we did not run (a stopped or starved supervisor) says nothing about the worker: its answers wait to be read.
    const lateMs = nowMs - this.#askedMs - WORKER_TIMES.pollMs;
    if (lateMs > 0) this.#answeredMs += lateMs;
    this.#askedMs = nowMs;
    const silentMs = nowMs - this.#answeredMs;
    if (this.#stopping || this.#killedAsHung || silentMs < this.#patienceMs()) return;
    this.#killedAsHung = true;
    this.log.error("a worker does not answer; it is killed and replaced", { worker: this.index, pid: process.pid, silentMs });
    process.kill();
  }

  /** A new instance of a filter may have to start at any time, in the place of one that broke. */
  #patienceMs(): number {
    const isBuilding = !this.#ready || (this.#delivery !== undefined && this.outcome === undefined);
    return (isBuilding ? WORKER_TIMES.startMs : WORKER_TIMES.hungMs) + this.#filterStartMs;
  }

  #onExit(reason: string): void {
    this.#process = undefined;
    this.#ready = false;
    this.serving = false;
    for (const settle of [...this.#waiting.values()]) settle(undefined);
    for (const resolve of this.#waitingExit.splice(0)) resolve();
    this.events.onGone(this, this.#stopping ? "stopped" : this.#killedAsHung ? "hung" : "crashed", reason);
    if (this.#stopping) return;
    if (this.clock.nowMs() - this.#startedMs >= WORKER_TIMES.stableMs) this.#backoffMs = WORKER_TIMES.backoffMinMs;
    const delayMs = this.#backoffMs;
    this.#backoffMs = Math.min(delayMs * 2, WORKER_TIMES.backoffMaxMs);
    this.replaced++;
    this.log.error("a worker is gone; it is replaced", { worker: this.index, reason, delayMs });
    this.#respawn = this.clock.setTimer(delayMs, () => this.start());
  }

  /** Lets the worker finish. Resolves when the process is gone. */
  drain(): Promise<void> {
    this.#stopForGood();
    this.tell({ type: "drain" });
    return this.#exited();
  }

  /** Without what is under way, but with the lines of the access log. Resolves when the process is gone. */
  stop(): Promise<void> {
    this.#stopForGood();
    if (this.#process?.send({ type: "stop" }) !== true) return this.kill();
    const late = this.clock.setTimer(WORKER_TIMES.stopMs, () => void this.kill());
    return this.#exited().finally(() => late.cancel());
  }

  /** Ends the process now. Resolves when it is gone. */
  kill(): Promise<void> {
    this.#stopForGood();
    this.#process?.kill();
    return this.#exited();
  }

  #stopForGood(): void {
    this.#stopping = true;
    this.#respawn?.cancel();
  }

  #exited(): Promise<void> {
    if (this.#process === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#waitingExit.push(resolve));
  }
}
