import type { Clock, Timer } from "../core/clock.ts";
import type { Blamed, Containment } from "../core/containment.ts";
import { ByteWriter } from "../core/writer.ts";

/** Something with bytes to hand to its socket. */
export interface Flushable extends Blamed {
  flush(): void;
}

/**
 * One turn of the event loop. Everything that a turn produces for a connection (head, body, the next pipelined answer) goes
 * out in one write when the turn ends: system calls are what a proxy spends its time on. Entry points (socket callbacks,
 * timers) call `enter` and `leave`; what is marked outside a turn is flushed by a microtask.
 */
export class Turn {
  #depth = 0;
  /** The time of this turn, read when first asked for; -1: not yet. */
  #nowMs = -1;
  #scheduled = false;
  #dirty: Flushable[] = [];
  #spare: Flushable[] = [];
  readonly #writers: ByteWriter[] = [];

  constructor(
    readonly time: Clock,
    /** Absent: whatever throws ends the process. */
    readonly bugs?: Containment,
  ) {}

  enter(): void {
    if (this.#depth++ === 0) this.#nowMs = -1;
  }

  /** Monotonic time: one reading per turn, because a request would otherwise take ten. Outside a turn it is read anew. */
  nowMs(): number {
    if (this.#depth === 0) return this.time.nowMs();
    if (this.#nowMs < 0) this.#nowMs = this.time.nowMs();
    return this.#nowMs;
  }

  /** Time passed that counts (a filter worked): the next reading is a new one. */
  renew(): void {
    this.#nowMs = -1;
  }

  leave(): void {
    if (--this.#depth === 0 && this.#dirty.length > 0) this.#flush();
  }

  /** How often it was entered. */
  get depth(): number {
    return this.#depth;
  }

  /** What the outermost call of a turn threw (a socket's callback, a timer, a microtask): `blamed` is given up, and the turn ends. */
  thrown(error: unknown, blamed: Blamed): void {
    this.contain(error, blamed, 1);
    this.leave();
  }

  /** Gives `blamed` up, for what threw when the turn had been entered `depth` times: those who entered it since will not leave it. */
  contain(error: unknown, blamed: Blamed, depth: number): void {
    this.#depth = depth;
    if (this.bugs === undefined) throw error;
    this.bugs.contain(error, blamed);
    this.#depth = depth;
  }

  /** Runs what costs `blamed` when it throws, and not who is on the stack. For what happens less often than requests: it takes a closure. */
  run(blamed: Blamed, action: () => void): void {
    this.enter();
    const depth = this.#depth;
    try {
      action();
    } catch (error) {
      this.contain(error, blamed, depth);
    }
    this.leave();
  }

  /** Flushes `connection` at the end of this turn; call once per turn and connection. */
  mark(connection: Flushable): void {
    this.#dirty.push(connection);
    if (this.#depth > 0 || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#depth === 0) this.#flush();
    });
  }

  /** An empty writer; give it back with `release` once its bytes are written. */
  borrow(): ByteWriter {
    return this.#writers.pop() ?? new ByteWriter();
  }

  release(writer: ByteWriter): void {
    writer.clear();
    if (this.#writers.length < 64) this.#writers.push(writer);
  }

  /** What flushing produces (a drained source sends more) is flushed as well. */
  #flush(): void {
    this.#depth++;
    while (this.#dirty.length > 0) {
      const batch = this.#dirty;
      this.#dirty = this.#spare;
      for (let i = 0; i < batch.length; i++) this.#flushOne(batch[i] as Flushable);
      batch.length = 0;
      this.#spare = batch;
    }
    this.#depth--;
  }

  #flushOne(connection: Flushable): void {
    const depth = this.#depth;
    try {
      connection.flush();
    } catch (error) {
      this.contain(error, connection, depth);
    }
  }
}

/** The clock that everything within turns uses. */
export class TurnClock implements Clock {
  constructor(readonly turn: Turn) {}

  nowMs(): number {
    return this.turn.nowMs();
  }
  /** Of the same moment as `nowMs`, which may have been read a while ago. */
  wallMs(): number {
    const { time } = this.turn;
    return time.wallMs() - (time.nowMs() - this.turn.nowMs());
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    return this.turn.time.setTimer(delayMs, fire);
  }
}
