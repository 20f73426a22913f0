import type { AccessLogConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { Rng } from "../../core/rng.ts";
import type { FilterRun } from "../../filters/chain-types.ts";
import { AccessLogLine } from "./access-log-line.ts";
import { BatchWriter } from "./batch-writer.ts";
import { ANY_PLACE, type LogPlaces, placeLog } from "./log-place.ts";
import type { ExchangeRecord, StreamRecord } from "./record.ts";

/** Answers from here on are failures: always logged. */
const FIRST_SERVER_ERROR = 500;
const NO_RUNS: readonly FilterRun[] = [];

/** Decides which exchanges are logged, and writes them: one JSON object per line. */
export class AccessLog {
  #config: AccessLogConfig | undefined;
  #writer: BatchWriter | undefined;
  #line: AccessLogLine;
  #routes: ReadonlySet<string> | undefined;
  #readsRuns = false;
  #carriedLines = 0;
  #carriedDropped = 0;

  constructor(
    readonly clock: Clock,
    readonly rng: Rng,
    readonly log: Log,
    /** Which files may be written. */
    readonly places: LogPlaces = ANY_PLACE,
  ) {
    this.#line = new AccessLogLine(clock, [], []);
  }

  /** Why these settings cannot be taken: their file is not one that may be written. Undefined: they can. */
  refuses(config: AccessLogConfig): string | undefined {
    if (!config.enabled) return undefined;
    const placed = placeLog(config.path, this.places);
    return "refused" in placed ? placed.refused : undefined;
  }

  /** Takes the settings of a new snapshot, which `refuses` let pass. The file stays open when its path did not change. */
  configure(config: AccessLogConfig): void {
    this.#config = config;
    const { requestHeaders, responseHeaders, filters, slowFilterMs } = config;
    this.#line = new AccessLogLine(this.clock, requestHeaders, responseHeaders, filters, slowFilterMs);
    this.#readsRuns = filters === true || slowFilterMs !== undefined;
    this.#routes = config.filter?.routes === undefined ? undefined : new Set(config.filter.routes);
    const path = config.enabled ? this.#place(config.path) : undefined;
    if (path !== undefined && this.#writer?.path === path) return;
    this.#retire(this.#writer);
    this.#writer = path === undefined ? undefined : new BatchWriter(path, this.clock, this.log);
  }

  /** Once per finished exchange. */
  onExchangeEnd(record: ExchangeRecord): void {
    const writer = this.#writer;
    if (writer === undefined) return;
    const line = this.#line;
    const runs = this.#readsRuns ? record.filterRuns() : NO_RUNS;
    if (!this.#wants(record) && !runs.some((run) => line.isSlow(run))) return;
    const out = writer.beginLine();
    if (out === undefined) return;
    line.write(record, out, runs);
    writer.endLine();
  }

  /** Once per finished stream. */
  onStreamEnd(record: StreamRecord): void {
    const writer = this.#writer;
    if (writer === undefined || !this.#wants(record)) return;
    const out = writer.beginLine();
    if (out === undefined) return;
    this.#line.writeStream(record, out);
    writer.endLine();
  }

  /** A stream has no status: a filter that wants one wants no stream that ended well. */
  #wants(record: ExchangeRecord | StreamRecord): boolean {
    const status = "status" in record ? record.status : 0;
    if (record.failure !== undefined || status >= FIRST_SERVER_ERROR) return true;
    const { filter, sample } = this.#config as AccessLogConfig;
    if (filter !== undefined) {
      if (filter.minStatus !== undefined && status < filter.minStatus) return false;
      if (filter.minDurationMs !== undefined && record.endMs - record.startMs < filter.minDurationMs) return false;
      if (this.#routes !== undefined && !this.#routes.has(record.routeName)) return false;
    }
    return sample >= 1 || this.rng.next() < sample;
  }

  /** The file to open; undefined: it may not be written (any more). */
  #place(path: string): string | undefined {
    const placed = placeLog(path, this.places);
    if ("path" in placed) return placed.path;
    this.log.error("the access log may not be written there; no lines are logged", { path, cause: placed.refused });
    return undefined;
  }

  /** After a rotation: goes on in a new file of the same name. */
  reopen(): void {
    if (this.#config !== undefined && this.refuses(this.#config) !== undefined) this.configure(this.#config);
    else this.#writer?.reopen();
  }

  /** Resolves when every line so far is with the kernel. */
  async flush(): Promise<void> {
    await this.#writer?.flush();
  }

  takeCounts(): { readonly lines: number; readonly dropped: number } {
    const counts = this.#writer?.takeCounts() ?? { lines: 0, dropped: 0 };
    const sum = { lines: counts.lines + this.#carriedLines, dropped: counts.dropped + this.#carriedDropped };
    this.#carriedLines = 0;
    this.#carriedDropped = 0;
    return sum;
  }

  async close(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    if (writer === undefined) return;
    await writer.close();
    this.#carry(writer);
  }

  #retire(writer: BatchWriter | undefined): void {
    if (writer === undefined) return;
    this.#carry(writer);
    // What waits is written first.
    void writer.close().then(() => this.#carry(writer));
  }

  #carry(writer: BatchWriter): void {
    const counts = writer.takeCounts();
    this.#carriedLines += counts.lines;
    this.#carriedDropped += counts.dropped;
  }
}
