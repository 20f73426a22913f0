import type { FilterConfig } from "../../config/snapshot.ts";
import { VirtualClock } from "../../core/clock.ts";
import { DeadlineQueue } from "../../core/deadline.ts";
import type { Log, LogFields, LogLevel } from "../../core/log.ts";
import { ChainPool } from "../../filters/chain.ts";
import type { CalloutAnswer, CalloutRequest, FilterHost, FilterMetrics, FilterModule } from "../../filters/contract.ts";
import { FilterStats } from "../../filters/stats.ts";
import type { CreateFilterHost } from "../command.ts";
import type { CalloutDesk } from "./callout-desk.ts";

/** A line that a filter, or the host about it, wrote. */
export interface LogLine {
  readonly level: LogLevel;
  readonly text: string;
}

/** One filter in virtual time, with everything it says kept. Each test has its own: nothing of one reaches another. */
export class TestBed {
  readonly clock = startedClock();
  readonly chains = new ChainPool(new DeadlineQueue(this.clock, 50));
  readonly metrics = new KeptMetrics();
  readonly lines: LogLine[] = [];
  #host: FilterHost | undefined;

  constructor(
    readonly desk: CalloutDesk,
    readonly createHost: CreateFilterHost,
  ) {}

  /** Rejects with the reason when the filter does not start. */
  async load(bytes: Uint8Array, config: FilterConfig): Promise<FilterModule> {
    this.#host ??= await this.createHost({
      clock: this.clock,
      log: new KeptLog(this.lines),
      metrics: this.metrics,
      callout: (_filter, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void) =>
        this.desk.open(request, done),
    });
    return this.#host.load(bytes, config);
  }

  /** Lets time pass, with what comes after each moment (a new instance, an answer) done before the next. */
  async advance(byMs: number): Promise<void> {
    const sliceMs = Math.max(SLICE_MIN_MS, byMs / SLICES);
    for (let left = byMs; left > 0; left -= sliceMs) {
      this.clock.advance(Math.min(left, sliceMs));
      await settle();
    }
  }
}

/** 14 November 2023, 22:13:20 UTC. */
const START_WALL_MS = 1_700_000_000_000;
const UPTIME_MS = 1_000;

/** Some time has passed already: Go's runtime does not start when the monotonic clock says 0. */
function startedClock(): VirtualClock {
  const clock = new VirtualClock(START_WALL_MS - UPTIME_MS);
  clock.advance(UPTIME_MS);
  return clock;
}

const SLICE_MIN_MS = 10;
const SLICES = 500;

/** Lets everything that was put off to the end of the turn happen. */
export async function settle(): Promise<void> {
  await new Promise<void>((resolve) => setImmediate(resolve));
}

class KeptLog implements Log {
  readonly level = "debug";
  constructor(readonly lines: LogLine[]) {}
  debug(text: string, fields?: LogFields): void {
    this.#keep("debug", text, fields);
  }
  info(text: string, fields?: LogFields): void {
    this.#keep("info", text, fields);
  }
  warn(text: string, fields?: LogFields): void {
    this.#keep("warn", text, fields);
  }
  error(text: string, fields?: LogFields): void {
    this.#keep("error", text, fields);
  }
  for(): Log {
    return this;
  }
  #keep(level: LogLevel, text: string, fields: LogFields | undefined): void {
    const reason = fields?.reason;
    this.lines.push({ level, text: reason === undefined ? text : `${text}: ${String(reason)}` });
  }
}

/** Metrics by name. */
class KeptMetrics implements FilterMetrics {
  readonly values = new Map<string, number>();
  readonly #names: string[] = [];

  define(_filter: string, _kind: string, name: string): number {
    this.#names.push(name);
    if (!this.values.has(name)) this.values.set(name, 0);
    return this.#names.length;
  }
  record(id: number, value: number): void {
    this.values.set(this.#nameOf(id), value);
  }
  increment(id: number, by: number): void {
    this.values.set(this.#nameOf(id), this.read(id) + by);
  }
  read(id: number): number {
    return this.values.get(this.#nameOf(id)) ?? 0;
  }
  statsOf(): FilterStats {
    return new FilterStats();
  }
  onTrap(): void {}

  #nameOf(id: number): string {
    return this.#names[id - 1] ?? "";
  }
}
