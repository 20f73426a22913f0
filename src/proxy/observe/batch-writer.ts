import { close, closeSync, fstatSync, mkdirSync, openSync, write, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import type { Log } from "../../core/log.ts";
import { ByteWriter } from "../../core/writer.ts";

/** Bounds of one log file. */
export const BATCH_LIMITS = {
  /** A batch is written when it has grown to this. */
  flushBytes: 64 * 1024,
  /** …or when its first line is this old. */
  flushMs: 100,
  /** Lines that wait while the disk is slow; more are dropped and counted. */
  pendingBytes: 4 * 1024 * 1024,
  /** A pipe takes at most this in one piece (POSIX PIPE_BUF on Linux), so that lines of several workers do not mix. */
  pipeBytes: 4096,
  /** A file that takes longer than this for one batch is slow… */
  slowMs: 5,
  /** …and is written from another thread for this long; twice as long when it is slow again soon after, … */
  slowForMs: 1_000,
  /** … but no longer than this. */
  slowForMaxMs: 60_000,
} as const;

/**
 * Whether a file takes batches fast enough to be written in place. Any disk stalls now and then: one stall costs a second of the dearer
 * way, and only a file that goes on stalling is left to the other thread for long.
 */
export class FilePace {
  #slowUntilMs = Number.NEGATIVE_INFINITY;
  #slowForMs = 0;

  isSlow(nowMs: number): boolean {
    return nowMs < this.#slowUntilMs;
  }

  /** A batch was written in place from `startMs` to `endMs`. */
  note(startMs: number, endMs: number): void {
    if (endMs - startMs <= BATCH_LIMITS.slowMs) return;
    const soonAfter = endMs - this.#slowUntilMs < this.#slowForMs;
    this.#slowForMs = soonAfter ? Math.min(this.#slowForMs * 2, BATCH_LIMITS.slowForMaxMs) : BATCH_LIMITS.slowForMs;
    this.#slowUntilMs = endMs + this.#slowForMs;
  }
}

/** A batch's memory: what is flushed, and the line that crossed the mark. */
const BATCH_BUFFER_BYTES = BATCH_LIMITS.flushBytes + 32 * 1024;
const RETRY_MS = 10;
const NEWLINE = 0x0a;

/** Lines that are written together. */
class Batch extends ByteWriter {
  lines = 0;
}

/** Streams that a process has anyhow, by their name in configuration. */
const STREAM_FDS: Readonly<Record<string, number>> = { stdout: 1, stderr: 2 };
const STREAM_FD_MAX = 2;

/**
 * Appends lines to a file (or a stream) in batches: one O_APPEND write a batch, so lines of several workers never mix, and one at
 * a time, so a slow disk costs lines (counted), never memory. A file that is quick is written in place: 64 KiB into the page
 * cache take 20 us, handing them to another thread 66 us (bench/observe.ts). Pipes and slow files get the other thread.
 */
export class BatchWriter {
  #fd = -1;
  /** Batches that wait, oldest first. */
  #batches: Batch[] = [];
  /** The batch being filled; lines go straight into it, so that nothing is joined or encoded twice. */
  #open = new Batch(BATCH_BUFFER_BYTES);
  /** An empty batch, for the next one. */
  #spare: Batch | undefined;
  #pendingBytes = 0;
  #timer: Timer | undefined;
  #writing = false;
  readonly #pace = new FilePace();
  #isPipe = false;
  #reopenWanted = false;
  #idle: (() => void)[] = [];
  /** A disk that was full may have taken the beginning of a line only: what comes next must not go on behind it. */
  #torn = false;
  /** Lines that the kernel took whole, and lines dropped, since the last `takeCounts`. */
  #written = 0;
  #dropped = 0;

  constructor(
    /** `stdout`, `stderr` or a file. */
    readonly path: string,
    readonly clock: Clock,
    readonly log: Log,
    /** Always writes from another thread. */
    readonly deferred = false,
  ) {
    this.#openFile();
  }

  #openFile(): void {
    try {
      const stream = STREAM_FDS[this.path];
      if (stream !== undefined) {
        this.#fd = stream;
      } else {
        mkdirSync(dirname(this.path), { recursive: true });
        this.#fd = openSync(this.path, "a", 0o640);
      }
      this.#isPipe = !fstatSync(this.#fd).isFile();
    } catch (error) {
      this.#fd = -1;
      this.log.error("cannot open the access log; lines are dropped until it is reopened", {
        path: this.path,
        cause: describeCause(error),
      });
    }
  }

  /** Where the next line is to be written, with its newline; then call `endLine`. Undefined: it is dropped (and counted). */
  beginLine(): ByteWriter | undefined {
    if (this.#fd < 0 || this.#pendingBytes + this.#open.length >= BATCH_LIMITS.pendingBytes) {
      this.#dropped++;
      return undefined;
    }
    return this.#open;
  }

  endLine(): void {
    this.#open.lines++;
    const bytes = this.#open.length;
    if (bytes >= BATCH_LIMITS.flushBytes || (this.#isPipe && bytes >= BATCH_LIMITS.pipeBytes / 2)) {
      this.#closeBatch();
      this.#pump();
    } else if (this.#timer === undefined) {
      this.#timer = this.clock.setTimer(BATCH_LIMITS.flushMs, () => this.#onTimer());
    }
  }

  #onTimer(): void {
    this.#timer = undefined;
    this.#closeBatch();
    this.#pump();
  }

  #closeBatch(): void {
    if (this.#open.length === 0) return;
    this.#pendingBytes += this.#open.length;
    this.#batches.push(this.#open);
    this.#open = this.#spare ?? new Batch(BATCH_BUFFER_BYTES);
    this.#spare = undefined;
  }

  /** A batch that was written gives its memory to the next one. */
  #reuse(batch: Batch): void {
    batch.clear();
    batch.lines = 0;
    this.#spare = batch;
  }

  /** Writes the oldest batch unless one is under way. */
  #pump(): void {
    if (this.#writing) return;
    if (this.#reopenWanted) this.#swapFile();
    const batch = this.#batches.shift();
    if (batch === undefined) {
      for (const resolve of this.#idle.splice(0)) resolve();
      return;
    }
    this.#pendingBytes -= batch.length;
    if (this.#fd < 0) {
      this.#dropped += batch.lines;
      this.#pump();
      return;
    }
    if (this.#torn) this.#endTornLine();
    if (!this.#isPipe && !this.deferred && !this.#pace.isSlow(this.clock.nowMs())) {
      this.#writeNow(batch);
      this.#reuse(batch);
      this.#pump();
      return;
    }
    this.#writing = true;
    this.#write(batch, 0);
  }

  #writeNow(batch: Batch): void {
    const startMs = this.clock.nowMs();
    let at = 0;
    try {
      while (at < batch.length) at += writeSync(this.#fd, batch.buffer, at, batch.length - at);
      this.#written += batch.lines;
    } catch (error) {
      this.#onWriteError(error, batch, at);
    }
    this.#pace.note(startMs, this.clock.nowMs());
  }

  #write(batch: Batch, start: number): void {
    write(this.#fd, batch.buffer, start, batch.length - start, null, (error, written) => {
      if (error !== null && (error.code === "EAGAIN" || error.code === "EINTR")) {
        this.clock.setTimer(RETRY_MS, () => this.#write(batch, start));
        return;
      }
      if (error === null && start + written < batch.length) {
        this.#write(batch, start + written);
        return;
      }
      if (error === null) this.#written += batch.lines;
      else this.#onWriteError(error, batch, start);
      this.#reuse(batch);
      this.#writing = false;
      this.#pump();
    });
  }

  /** The kernel took `taken` bytes of it: whole lines among them are written. */
  #onWriteError(error: unknown, batch: Batch, taken: number): void {
    let lines = 0;
    for (let at = 0; at < taken; at++) if (batch.buffer[at] === NEWLINE) lines++;
    this.#written += lines;
    const dropped = batch.lines - lines;
    this.#dropped += dropped;
    // Deno does not tell how much was taken before it failed; an empty line does no harm.
    this.#torn = !this.#isPipe;
    this.log.error("cannot write the access log", { path: this.path, cause: describeCause(error), droppedLines: dropped });
  }

  #endTornLine(): void {
    try {
      writeSync(this.#fd, "\n");
      this.#torn = false;
    } catch {
      // Still full: the batch that follows says so.
    }
  }

  /** Opens the path anew (after a rotation renamed the file): what was taken before goes to the old file if it is being written. */
  reopen(): void {
    if (this.path in STREAM_FDS) return;
    this.#closeBatch();
    this.#reopenWanted = true;
    this.#pump();
  }

  #swapFile(): void {
    this.#reopenWanted = false;
    const old = this.#fd;
    this.#torn = false;
    this.#openFile();
    if (old > STREAM_FD_MAX) close(old, () => {});
  }

  /** Resolves when everything taken so far is with the kernel. */
  flush(): Promise<void> {
    this.#closeBatch();
    this.#pump();
    if (!this.#writing && this.#batches.length === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** How many lines were written and dropped since the last call. What still waits is neither. */
  takeCounts(): { readonly lines: number; readonly dropped: number } {
    const counts = { lines: this.#written, dropped: this.#dropped };
    this.#written = 0;
    this.#dropped = 0;
    return counts;
  }

  /** Writes what is left and closes the file. */
  async close(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    await this.flush();
    if (this.#fd > STREAM_FD_MAX) closeSync(this.#fd);
    this.#fd = -1;
  }

  /** The same at once, for a process that is about to exit. */
  closeNow(): void {
    this.#closeBatch();
    try {
      if (this.#fd >= 0) for (const batch of this.#batches.splice(0)) writeSync(this.#fd, batch.view());
    } catch {
      // The process ends: nobody is left to tell.
    }
  }
}
