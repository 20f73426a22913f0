import type { ConfigIssue } from "../config/issue.ts";
import { SectionJoiner } from "../config/section-joiner.ts";
import type { Manifest } from "../config/sections.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import type { Clock } from "../core/clock.ts";
import { describeCause } from "../core/failure.ts";
import type { Log } from "../core/log.ts";
import type { ProxyObserver } from "../proxy/observe/observer.ts";
import type { DataPlane } from "./data-plane.ts";
import { type FromWorker, localIssue, refuseLog, type ToWorker } from "./messages.ts";

export interface WorkerSessionOptions {
  readonly dataPlane: DataPlane;
  readonly observer: ProxyObserver;
  readonly clock: Clock;
  readonly log: Log;
  readonly send: (message: FromWorker) => void;
  /** Bytes of a module that the supervisor put aside; throws when it is not there. */
  readonly readModule: (digest: string) => Uint8Array;
  /** Resident memory and processor time of this process so far. */
  readonly usage: () => { readonly residentBytes: number; readonly cpuUs: number };
  /** Called once everything is over: the process exits. */
  readonly exit: (code: number) => void;
}

interface Delivery {
  readonly manifest: Manifest;
  readonly sections: ReadonlyMap<string, string>;
}

/** The worker's end of the pipe: takes snapshots one after the other (only the newest of those that wait), answers polls, drains. */
export class WorkerSession {
  #sections = new Map<string, string>();
  readonly #joiner = new SectionJoiner();
  #modules = new Set<string>();
  #waiting: Delivery | undefined;
  #applying = false;
  #draining = false;
  #cpuUs = 0;

  constructor(readonly options: WorkerSessionOptions) {}

  start(): void {
    this.options.send({ type: "ready" });
  }

  onMessage(message: ToWorker): void {
    switch (message.type) {
      case "snapshot":
        this.#take(message.manifest, message.sections);
        break;
      case "poll":
        this.#report(message.request, message.full);
        break;
      case "filter":
        this.options.dataPlane.controlFilter(message.filter, message.action);
        break;
      case "reopen":
        this.options.observer.accessLog.reopen();
        break;
      case "drain":
        void this.drain("the supervisor asked");
        break;
      case "stop":
        void this.#stop();
        break;
    }
  }

  /** Keeps exactly the sections of this manifest; the supervisor counts on it. */
  #take(manifest: Manifest, fresh: Readonly<Record<string, string>>): void {
    const kept = new Map<string, string>();
    for (const digest of Object.values(manifest.sections)) {
      const text = fresh[digest] ?? this.#sections.get(digest);
      if (text !== undefined) kept.set(digest, text);
    }
    this.#sections = kept;
    this.#waiting = { manifest, sections: kept };
    if (!this.#applying) void this.#applyWaiting();
  }

  async #applyWaiting(): Promise<void> {
    this.#applying = true;
    while (this.#waiting !== undefined && !this.#draining) {
      const delivery = this.#waiting;
      this.#waiting = undefined;
      await this.#apply(delivery);
    }
    this.#applying = false;
  }

  async #apply({ manifest, sections }: Delivery): Promise<void> {
    const { clock, observer, send } = this.options;
    const { revision, digest } = manifest;
    const startMs = clock.nowMs();
    const issues = await this.#tryApply(manifest, sections);
    const applyMs = clock.nowMs() - startMs;
    if (issues.length > 0) {
      observer.metrics.onConfigRejected();
      send({ type: "outcome", outcome: { kind: "rejected", revision, digest, issues } });
      return;
    }
    observer.metrics.onConfigApplied(revision, applyMs, latencyOf(manifest, clock));
    send({ type: "outcome", outcome: { kind: "applied", revision, digest, applyMs } });
  }

  async #tryApply(manifest: Manifest, sections: ReadonlyMap<string, string>): Promise<readonly ConfigIssue[]> {
    try {
      const update = this.#assemble(manifest, sections);
      const { accessLog } = update.snapshot.mesh;
      const refused = refuseLog(this.options.observer, accessLog);
      const issues = refused.length > 0 ? refused : await this.options.dataPlane.apply(update);
      if (issues.length > 0) return issues;
      this.#modules = new Set(manifest.modules);
      this.options.observer.configure(update.snapshot.mesh);
      return issues;
    } catch (error) {
      return [localIssue("internal", `The worker could not take the snapshot: ${describeCause(error)}`, "This is a bug.")];
    }
  }

  #assemble(manifest: Manifest, sections: ReadonlyMap<string, string>): SnapshotUpdate {
    const snapshot = this.#joiner.join(manifest, (digest) => {
      const text = sections.get(digest);
      return text === undefined ? undefined : Buffer.from(text, "utf8");
    });
    const modules = new Map<string, Uint8Array>();
    for (const digest of manifest.modules) {
      if (!this.#modules.has(digest)) modules.set(digest, this.options.readModule(digest));
    }
    return { snapshot, modules, publishedAtMs: manifest.publishedAtMs };
  }

  #report(request: number, full: boolean): void {
    const { observer, dataPlane, send, usage } = this.options;
    const { residentBytes, cpuUs } = usage();
    const filterLogs = observer.filterLogs.takeAll();
    const report = {
      dump: observer.drain(),
      events: observer.events.takeNew(),
      ...(filterLogs.length === 0 ? {} : { filterLogs }),
      inFlight: observer.metrics.inFlight,
      residentBytes,
      cpuUs: cpuUs - this.#cpuUs,
      status: full ? dataPlane.status() : undefined,
    };
    this.#cpuUs = cpuUs;
    send({ type: "report", request, report });
  }

  /** Finishes what is under way, then calls `exit`. Also when the supervisor is gone: nobody else would ever stop this process. */
  async drain(reason: string): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    const { dataPlane, observer, send, exit, log } = this.options;
    log.info("draining", { reason });
    try {
      await dataPlane.drain();
      await dataPlane.stop();
      await Promise.all([observer.accessLog.close(), observer.spans.close()]);
    } catch (error) {
      log.error("draining failed", { cause: describeCause(error) });
    }
    this.#report(0, false);
    send({ type: "drained" });
    exit(0);
  }

  /** At once, also in the middle of draining: what is under way is broken off, and what was logged is written. */
  async #stop(): Promise<void> {
    this.#draining = true;
    const { dataPlane, observer, exit, log } = this.options;
    try {
      await dataPlane.stop();
      observer.spans.abandon();
      await observer.accessLog.close();
    } catch (error) {
      log.error("stopping failed", { cause: describeCause(error) });
    }
    exit(0);
  }
}

/** Undefined when the manifest does not say when it was published. */
function latencyOf(manifest: Manifest, clock: Clock): number | undefined {
  return manifest.publishedAtMs > 0 ? Math.max(0, clock.wallMs() - manifest.publishedAtMs) : undefined;
}
