import { close, closeSync, fstatSync, mkdirSync, openSync, write, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock, Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import type { Log } from "../../core/log.ts";

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
  /** …and is written from another thread for this long. */
  slowForMs: 60_000,
} as const;

/** A batch's memory: what is flushed, and the line that crossed the mark. */
const BATCH_BUFFER_BYTES = BATCH_LIMITS.flushBytes + 32 * 1024;
/** Bytes that one UTF-16 unit may take in UTF-8. */
const UTF8_BYTES_MAX = 3;
const RETRY_MS = 10;
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
  #batches: Buffer[] = [];
  /** The batch being filled; lines go straight into it, so that nothing is joined or encoded twice. */
  #open: Buffer = Buffer.allocUnsafeSlow(BATCH_BUFFER_BYTES);
  #openBytes = 0;
  /** A batch's memory, for the next one. */
  #spare: Buffer | undefined;
  #pendingBytes = 0;
  #timer: Timer | undefined;
  #writing = false;
  #slowUntilMs = Number.NEGATIVE_INFINITY;
  #isPipe = false;
  #reopenWanted = false;
  #idle: (() => void)[] = [];
  /** Lines taken, and lines dropped, since the last `takeCounts`. */
  #taken = 0;
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

  /** Takes one line, with its newline. */
  append(line: string): void {
    if (this.#fd < 0 || this.#pendingBytes + line.length > BATCH_LIMITS.pendingBytes) {
      this.#dropped++;
      return;
    }
    this.#taken++;
    const room = line.length * UTF8_BYTES_MAX;
    if (room > this.#open.length - this.#openBytes) this.#closeBatch();
    if (room > this.#open.length) this.#open = Buffer.allocUnsafeSlow(room);
    const bytes = this.#open.write(line, this.#openBytes);
    this.#openBytes += bytes;
    this.#pendingBytes += bytes;
    if (this.#openBytes >= BATCH_LIMITS.flushBytes || (this.#isPipe && this.#openBytes >= BATCH_LIMITS.pipeBytes / 2)) {
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
    if (this.#openBytes === 0) return;
    this.#batches.push(this.#open.subarray(0, this.#openBytes));
    this.#open = this.#spare ?? Buffer.allocUnsafeSlow(BATCH_BUFFER_BYTES);
    this.#spare = undefined;
    this.#openBytes = 0;
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
      this.#pump();
      return;
    }
    if (!this.#isPipe && !this.deferred && this.clock.nowMs() >= this.#slowUntilMs) {
      this.#writeNow(batch);
      this.#spare = Buffer.from(batch.buffer);
      this.#pump();
      return;
    }
    this.#writing = true;
    this.#write(batch, 0);
  }

  #writeNow(bytes: Buffer): void {
    const startMs = this.clock.nowMs();
    try {
      let at = 0;
      while (at < bytes.length) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      this.#onWriteError(error, bytes);
    }
    const endMs = this.clock.nowMs();
    if (endMs - startMs > BATCH_LIMITS.slowMs) this.#slowUntilMs = endMs + BATCH_LIMITS.slowForMs;
  }

  #write(bytes: Buffer, start: number): void {
    write(this.#fd, bytes, start, bytes.length - start, null, (error, written) => {
      if (error !== null && (error.code === "EAGAIN" || error.code === "EINTR")) {
        this.clock.setTimer(RETRY_MS, () => this.#write(bytes, start));
        return;
      }
      if (error === null && start + written < bytes.length) {
        this.#write(bytes, start + written);
        return;
      }
      if (error !== null) this.#onWriteError(error, bytes);
      this.#writing = false;
      this.#pump();
    });
  }

  #onWriteError(error: unknown, bytes: Buffer): void {
    let lines = 0;
    for (const byte of bytes) if (byte === 0x0a) lines++;
    this.#dropped += lines;
    this.#taken -= lines;
    this.log.error("cannot write the access log", { path: this.path, cause: describeCause(error), droppedLines: lines });
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

  /** How many lines were taken and dropped since the last call. */
  takeCounts(): { readonly lines: number; readonly dropped: number } {
    const counts = { lines: this.#taken, dropped: this.#dropped };
    this.#taken = 0;
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
      if (this.#fd >= 0) for (const batch of this.#batches.splice(0)) writeSync(this.#fd, batch);
    } catch {
      // The process ends: nobody is left to tell.
    }
  }
}
