import { Buffer } from "node:buffer";
import type { Clock, Timer } from "../../../core/clock.ts";
import { describeCause } from "../../../core/failure.ts";
import { TRACE_LIMITS } from "../../../core/limits.ts";
import type { Log } from "../../../core/log.ts";

/** Where batches go. */
export interface SpanCollector {
  /** For the log. */
  readonly url: string;
  /** The body of a request with these spans. */
  join(spans: readonly string[]): string;
  /** Resolves with the status of the answer, in bounded time; rejects when there is none. `signal`: nobody waits for it any more. */
  post(body: string, signal: AbortSignal): Promise<number>;
}

interface Batch {
  readonly spans: string[];
  bytes: number;
  tries: number;
}

/** Of the answers that took nothing, those that may do so another time; of the others no repetition helps. */
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);
const newBatch = (): Batch => ({ spans: [], bytes: 0, tries: 0 });

/**
 * Sends spans in batches, one request at a time. A collector that is slow, away or wrong costs spans (counted), never memory beyond the
 * bounds of `TRACE_LIMITS`, nor a line of the log for each batch.
 */
export class SpanSender {
  #open = newBatch();
  /** Full ones, oldest first; the first may be under way. */
  readonly #batches: Batch[] = [];
  #pendingSpans = 0;
  #pendingBytes = 0;
  #flushTimer: Timer | undefined;
  /** Running while nothing is sent after a failed try. */
  #retryTimer: Timer | undefined;
  #retryMs: number = TRACE_LIMITS.retryFirstMs;
  #sending = false;
  #closing = false;
  #abandoned = false;
  readonly #stop = new AbortController();
  #whenIdle: (() => void) | undefined;
  #failing = false;
  #quietUntilMs = Number.NEGATIVE_INFINITY;
  #sent = 0;
  #dropped = 0;

  constructor(
    readonly collector: SpanCollector,
    readonly clock: Clock,
    readonly log: Log,
  ) {}

  /** No more may wait: count what comes with `drop`. */
  get full(): boolean {
    return this.#pendingSpans >= TRACE_LIMITS.pendingSpans || this.#pendingBytes >= TRACE_LIMITS.pendingBytes;
  }

  drop(): void {
    this.#dropped++;
  }

  /** Takes a span, as JSON. */
  add(span: string): void {
    const open = this.#open;
    const bytes = Buffer.byteLength(span, "utf8");
    open.spans.push(span);
    open.bytes += bytes;
    this.#pendingSpans++;
    this.#pendingBytes += bytes;
    if (open.spans.length >= TRACE_LIMITS.batchSpans || open.bytes >= TRACE_LIMITS.batchBytes) this.#closeBatch();
    else this.#flushTimer ??= this.clock.setTimer(TRACE_LIMITS.flushMs, () => this.#closeBatch());
  }

  #closeBatch(): void {
    this.#flushTimer?.cancel();
    this.#flushTimer = undefined;
    if (this.#open.spans.length > 0) {
      this.#batches.push(this.#open);
      this.#open = newBatch();
    }
    this.#pump();
  }

  /** Sends the oldest batch unless one is under way, or the collector is left alone for a while. */
  #pump(): void {
    if (this.#sending || this.#abandoned || this.#retryTimer !== undefined) return;
    const batch = this.#batches[0];
    if (batch === undefined) {
      this.#whenIdle?.();
      return;
    }
    this.#sending = true;
    void this.#send(batch);
  }

  /** Never rejects. */
  async #send(batch: Batch): Promise<void> {
    batch.tries++;
    let status = 0;
    let why = "";
    try {
      status = await this.collector.post(this.collector.join(batch.spans), this.#stop.signal);
      why = `it answered ${status}`;
    } catch (error) {
      why = describeCause(error);
    }
    this.#sending = false;
    if (this.#abandoned) return;
    if (status >= 200 && status < 300) this.#onSent(batch);
    else this.#onFailed(batch, why, status === 0 || PASSING.has(status));
    this.#pump();
  }

  #onSent(batch: Batch): void {
    this.#remove(batch);
    this.#sent += batch.spans.length;
    this.#retryMs = TRACE_LIMITS.retryFirstMs;
    if (!this.#failing) return;
    this.#failing = false;
    this.log.info("spans are exported again", { url: this.collector.url });
  }

  #onFailed(batch: Batch, why: string, mayPass: boolean): void {
    if (!mayPass || this.#closing || batch.tries >= TRACE_LIMITS.batchTries) {
      this.#remove(batch);
      this.#dropped += batch.spans.length;
    }
    this.#failing = true;
    const nowMs = this.clock.nowMs();
    if (nowMs >= this.#quietUntilMs) {
      this.#quietUntilMs = nowMs + TRACE_LIMITS.logEveryMs;
      const hint = "selvedge_trace_spans_total counts those that are dropped";
      this.log.warn("spans cannot be exported", { url: this.collector.url, cause: why, hint });
    }
    if (this.#closing) return;
    this.#retryTimer = this.clock.setTimer(this.#retryMs, () => {
      this.#retryTimer = undefined;
      this.#pump();
    });
    this.#retryMs = Math.min(this.#retryMs * 2, TRACE_LIMITS.retryLastMs);
  }

  #remove(batch: Batch): void {
    this.#batches.shift();
    this.#pendingSpans -= batch.spans.length;
    this.#pendingBytes -= batch.bytes;
  }

  /** How many were sent and dropped since the last call. What still waits is neither. */
  takeCounts(): { readonly sent: number; readonly dropped: number } {
    const counts = { sent: this.#sent, dropped: this.#dropped };
    this.#sent = 0;
    this.#dropped = 0;
    return counts;
  }

  /** Tries once more to send what waits, for `closeMs` at most; what is left then is dropped. Never rejects. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#retryTimer?.cancel();
    this.#retryTimer = undefined;
    let timer: Timer | undefined;
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
      timer = this.clock.setTimer(TRACE_LIMITS.closeMs, resolve);
      this.#closeBatch();
    });
    timer?.cancel();
    this.abandon();
  }

  /** Drops what waits, at once. */
  abandon(): void {
    if (this.#abandoned) return;
    this.#abandoned = true;
    this.#flushTimer?.cancel();
    this.#retryTimer?.cancel();
    this.#stop.abort();
    this.#dropped += this.#pendingSpans;
    this.#batches.length = 0;
    this.#open = newBatch();
    this.#pendingSpans = 0;
    this.#pendingBytes = 0;
  }
}
