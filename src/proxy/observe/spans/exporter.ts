import type { MeshConfig, TraceExportConfig } from "../../../config/snapshot.ts";
import type { Clock } from "../../../core/clock.ts";
import type { Log } from "../../../core/log.ts";
import type { ExchangeRecord } from "../record.ts";
import type { SpanEncoding, SpanOrigin } from "./encoding.ts";
import { OTLP } from "./otlp.ts";
import { SpanSender } from "./sender.ts";
import { spanOf } from "./span.ts";
import { ZIPKIN } from "./zipkin.ts";

const ENCODINGS: Readonly<Record<TraceExportConfig["protocol"], SpanEncoding>> = { otlp: OTLP, zipkin: ZIPKIN };

/** Where spans go now. */
interface Target {
  readonly config: TraceExportConfig;
  readonly encoding: SpanEncoding;
  readonly origin: SpanOrigin;
  readonly sender: SpanSender;
}

/** Makes a span of each exchange that is sampled, and has it sent. Without `tracing.export` it does nothing. */
export class SpanExporter {
  #target: Target | undefined;
  #slowFilterMs = Number.POSITIVE_INFINITY;
  /** Senders of earlier settings that still have something to say. */
  readonly #retired = new Set<SpanSender>();
  #carriedSent = 0;
  #carriedDropped = 0;

  constructor(
    readonly clock: Clock,
    readonly log: Log,
    /** Of the proxy, so that those of a group can be told apart; "": it has none. */
    readonly instance = "",
  ) {}

  /** Takes the settings of a new snapshot. What waits still goes where it was meant to go. */
  configure({ accessLog, tracing }: Pick<MeshConfig, "accessLog" | "tracing">): void {
    this.#slowFilterMs = accessLog.slowFilterMs ?? Number.POSITIVE_INFINITY;
    const config = tracing.export;
    if (isSame(this.#target?.config, config)) return;
    const old = this.#target?.sender;
    this.#target = config === undefined ? undefined : this.#open(config);
    if (old !== undefined) this.#retire(old);
  }

  #open(config: TraceExportConfig): Target {
    const encoding = ENCODINGS[config.protocol];
    const origin = { serviceName: config.serviceName, instance: this.instance };
    const { clock } = this;
    const collector = {
      url: placeOf(config.url),
      join: (spans: readonly string[]) => encoding.join(spans, origin),
      post: async (body: string, signal: AbortSignal) => {
        const { postJson } = await import("./post.ts");
        return postJson(config.url, body, config.timeoutMs, clock, signal);
      },
    };
    return { config, encoding, origin, sender: new SpanSender(collector, clock, this.log) };
  }

  #retire(sender: SpanSender): void {
    this.#retired.add(sender);
    void sender.close().then(() => {
      this.#retired.delete(sender);
      this.#carry(sender);
    });
  }

  /** Once per finished exchange. */
  onExchangeEnd(record: ExchangeRecord): void {
    const target = this.#target;
    if (target === undefined || record.spanId === "") return;
    const { encoding, origin, sender } = target;
    if (sender.full) {
      sender.drop();
      return;
    }
    const offsetMs = this.clock.wallMs() - this.clock.nowMs();
    sender.add(encoding.encode(spanOf(record, offsetMs, this.#slowFilterMs), origin));
  }

  takeCounts(): { readonly sent: number; readonly dropped: number } {
    for (const sender of this.#retired) this.#carry(sender);
    if (this.#target !== undefined) this.#carry(this.#target.sender);
    const counts = { sent: this.#carriedSent, dropped: this.#carriedDropped };
    this.#carriedSent = 0;
    this.#carriedDropped = 0;
    return counts;
  }

  #carry(sender: SpanSender): void {
    const { sent, dropped } = sender.takeCounts();
    this.#carriedSent += sent;
    this.#carriedDropped += dropped;
  }

  /** Sends what waits, within `TRACE_LIMITS.closeMs`; takes nothing any more. */
  async close(): Promise<void> {
    const senders = this.#takeAll();
    await Promise.all(senders.map((sender) => sender.close()));
    for (const sender of senders) this.#carry(sender);
  }

  /** Drops what waits. */
  abandon(): void {
    for (const sender of this.#takeAll()) {
      sender.abandon();
      this.#carry(sender);
    }
  }

  #takeAll(): SpanSender[] {
    const senders = [...this.#retired, ...(this.#target === undefined ? [] : [this.#target.sender])];
    this.#target = undefined;
    return senders;
  }
}

function isSame(a: TraceExportConfig | undefined, b: TraceExportConfig | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.protocol === b.protocol && a.url === b.url && a.serviceName === b.serviceName && a.timeoutMs === b.timeoutMs;
}

/** Without its query, where some collectors want a key. */
function placeOf(text: string): string {
  const { origin, pathname } = new URL(text);
  return origin + pathname;
}
