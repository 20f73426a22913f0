import type { Clock, Timer } from "../core/clock.ts";
import type { Blamed, Containment } from "../core/containment.ts";
import { ARRIVAL_LIMITS } from "../core/limits.ts";
import { ByteWriter } from "../core/writer.ts";

/** A batch looks at the clock once in so many entries (it costs 50 ns), and after each while they take long. */
const LOOK_EVERY = 4;

/** Writers that are kept for the next turn: as many, and with no more memory together than one batch can fill. */
const SPARE_WRITERS_MAX = 64;
const SPARE_BYTES_MAX = 2 * 1024 * 1024;

/** Something with bytes to hand to its socket. */
export interface Flushable extends Blamed {
  flush(): void;
}

/** Something that may wait until all of a batch has been read. */
export interface Startable extends Blamed {
  start(): void;
}

/** Hands on in a row what one poll brought. */
export interface Batches {
  /** Runs `action` when all of the batch has been handed on. False, and nothing will run: none is being handed on. */
  join(action: () => void): boolean;
  /** Hands on now what waits. */
  handOn(): void;
}

/**
 * One turn of the event loop. Everything that a turn produces for a connection (head, body, the next pipelined answer) goes
 * out in one write when the turn ends: system calls are what a proxy spends its time on. Entry points (socket callbacks,
 * timers) call `enter` and `leave`; what is marked outside a turn is flushed by a microtask. A batch of data is one turn.
 */
export class Turn {
  #depth = 0;
  /** 1 while a batch keeps the turn open, else 0. */
  #batch = 0;
  /** Entries into the turn since a batch last looked at the clock, and after how many it looks again. */
  #entries = 0;
  #lookEvery = LOOK_EVERY;
  /** When it last looked, and since when nothing was flushed; -1: since its first reading. */
  #lookedMs = -1;
  #flushedMs = -1;
  /** The time of this turn, read when first asked for; -1: not yet. */
  #nowMs = -1;
  #scheduled = false;
  #dirty: Flushable[] = [];
  #spare: Flushable[] = [];
  readonly #starts: Startable[] = [];
  readonly #writers: ByteWriter[] = [];
  /** Memory of `#writers`. */
  #spareBytes = 0;

  constructor(
    readonly time: Clock,
    /** Absent: whatever throws ends the process. */
    readonly bugs?: Containment,
    /** Absent: each socket's data is a turn of its own. */
    readonly batches?: Batches,
  ) {}

  enter(): void {
    if (this.#depth++ > 0) return;
    this.#nowMs = -1;
    if (this.batches?.join(this.#endBatch) !== true) return;
    this.#batch = 1;
    this.#depth++;
    this.#entries = 0;
    this.#flushedMs = -1;
  }

  readonly #endBatch = (): void => {
    this.#startAll();
    this.#batch = 0;
    this.leave();
  };

  /** Starts it now; within a batch when all has been read, so that the code of each phase runs for all of the batch in a row. */
  start(task: Startable): void {
    if (this.#batch === 0) task.start();
    else this.#starts.push(task);
  }

  /** Those, too, that are added meanwhile. */
  #startAll(): void {
    const starts = this.#starts;
    for (let i = 0; i < starts.length; i++) {
      const each = starts[i] as Startable;
      const depth = this.#depth;
      try {
        each.start();
      } catch (error) {
        this.contain(error, each, depth);
      }
      if (++this.#entries >= this.#lookEvery) this.#look();
    }
    starts.length = 0;
  }

  /** Monotonic time: one reading per turn, because a request would otherwise take ten. Outside a turn it is read anew. */
  nowMs(): number {
    if (this.#depth === 0) return this.time.nowMs();
    if (this.#nowMs < 0) {
      this.#nowMs = this.time.nowMs();
      if (this.#flushedMs < 0) this.#flushedMs = this.#lookedMs = this.#nowMs;
    }
    return this.#nowMs;
  }

  /** Time passed that counts (a filter worked): the next reading is a new one. */
  renew(): void {
    this.#nowMs = -1;
  }

  leave(): void {
    const depth = --this.#depth;
    if (depth > this.#batch) return;
    if (depth === 0) {
      if (this.#dirty.length > 0) this.#flush();
    } else if (++this.#entries >= this.#lookEvery) this.#look();
  }

  /** Within a batch: when it takes long (filters work), what is ready need not wait for the rest, and the time is another one. */
  #look(): void {
    this.#nowMs = -1;
    const nowMs = this.nowMs();
    this.#entries = 0;
    this.#lookEvery = nowMs - this.#lookedMs < ARRIVAL_LIMITS.flushMs ? LOOK_EVERY : 1;
    this.#lookedMs = nowMs;
    if (nowMs - this.#flushedMs < ARRIVAL_LIMITS.flushMs) return;
    this.#flushedMs = nowMs;
    this.#flush();
  }

  /** How often it was entered. */
  get depth(): number {
    return this.#depth;
  }

  /** What the outermost call of a turn threw (a socket's callback, a timer, a microtask): `blamed` is given up, and the turn ends. */
  thrown(error: unknown, blamed: Blamed): void {
    this.contain(error, blamed, this.#batch + 1);
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
    const writer = this.#writers.pop();
    if (writer === undefined) return new ByteWriter();
    this.#spareBytes -= writer.buffer.length;
    return writer;
  }

  release(writer: ByteWriter): void {
    writer.clear();
    const bytes = this.#spareBytes + writer.buffer.length;
    if (this.#writers.length >= SPARE_WRITERS_MAX || bytes > SPARE_BYTES_MAX) return;
    this.#spareBytes = bytes;
    this.#writers.push(writer);
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
  /** What was read before the timer fires comes before it: after a stall, what came in time would be taken for late. */
  setTimer(delayMs: number, fire: () => void): Timer {
    const { time, batches } = this.turn;
    if (batches === undefined) return time.setTimer(delayMs, fire);
    return time.setTimer(delayMs, () => {
      batches.handOn();
      fire();
    });
  }
}
