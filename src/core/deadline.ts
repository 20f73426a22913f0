import type { Clock, Timer } from "./clock.ts";
import type { Blamed } from "./containment.ts";

/**
 * Something that must have happened by a time. Embed one per connection and per exchange and re-arm it: arming, re-arming
 * and disarming allocate nothing and cost a few nanoseconds, which one system timer per request does not.
 */
export class Deadline {
  /** When it falls due, on the monotonic clock; `Infinity` while disarmed. */
  atMs = Number.POSITIVE_INFINITY;
  /** The slot list it hangs in, maintained by the queue. */
  slot = -1;
  previous: Deadline | undefined;
  next: Deadline | undefined;

  constructor(
    readonly onDeadline: () => void,
    /** Whom it costs when that throws. Undefined: the process. */
    readonly blamed?: Blamed,
  ) {}
}

const SLOT_COUNT = 512;

/**
 * A lazy timer wheel: a deadline that is re-armed to a later time stays where it hangs and is moved only when its old slot
 * comes up. Fires at most one tick (default 50 ms) late, never early. Ticks only while something hangs in it.
 */
export class DeadlineQueue {
  readonly #slots: (Deadline | undefined)[] = new Array<Deadline | undefined>(SLOT_COUNT).fill(undefined);
  #count = 0;
  #tick = 0;
  #timer: Timer | undefined;

  constructor(
    readonly clock: Clock,
    readonly tickMs = 50,
    /** A deadline threw that has somebody to blame. Default: nobody is. */
    readonly onThrown?: (error: unknown, blamed: Blamed) => void,
  ) {}

  /** How many hang in the wheel, disarmed ones that were not swept yet included. */
  get size(): number {
    return this.#count;
  }

  arm(deadline: Deadline, afterMs: number): void {
    const atMs = this.clock.nowMs() + afterMs;
    const earlier = atMs < deadline.atMs;
    deadline.atMs = atMs;
    if (deadline.slot >= 0) {
      // Later than its slot: the sweep moves it. Earlier: it must move now or it would fire late.
      if (!earlier || this.#slotOf(atMs) === deadline.slot) return;
      this.#unlink(deadline);
    }
    this.#link(deadline);
  }

  /** Idempotent. The object stays in its slot until the sweep passes (so that re-arming is cheap). */
  disarm(deadline: Deadline): void {
    deadline.atMs = Number.POSITIVE_INFINITY;
  }

  /** Disarms and takes it out at once: for owners that go away, so that the wheel does not keep them alive. */
  remove(deadline: Deadline): void {
    deadline.atMs = Number.POSITIVE_INFINITY;
    if (deadline.slot >= 0) this.#unlink(deadline);
  }

  #slotOf(atMs: number): number {
    return Math.ceil(atMs / this.tickMs) % SLOT_COUNT;
  }

  #link(deadline: Deadline): void {
    if (this.#timer === undefined) {
      this.#tick = Math.floor(this.clock.nowMs() / this.tickMs);
      this.#schedule();
    }
    // Beyond the horizon: hang it as far as the wheel reaches; the sweep moves it on.
    const horizonMs = (this.#tick + SLOT_COUNT - 1) * this.tickMs;
    const slot = this.#slotOf(Math.min(Math.max(deadline.atMs, (this.#tick + 1) * this.tickMs), horizonMs));
    const head = this.#slots[slot];
    deadline.slot = slot;
    deadline.previous = undefined;
    deadline.next = head;
    if (head !== undefined) head.previous = deadline;
    this.#slots[slot] = deadline;
    this.#count++;
  }

  #unlink(deadline: Deadline): void {
    if (deadline.previous === undefined) this.#slots[deadline.slot] = deadline.next;
    else deadline.previous.next = deadline.next;
    if (deadline.next !== undefined) deadline.next.previous = deadline.previous;
    deadline.slot = -1;
    deadline.previous = undefined;
    deadline.next = undefined;
    this.#count--;
  }

  #schedule(): void {
    this.#timer = this.clock.setTimer(this.tickMs, () => this.#sweep());
  }

  #sweep(): void {
    const nowMs = this.clock.nowMs();
    const until = Math.floor(nowMs / this.tickMs);
    // A long stall passes every slot at most once.
    const from = Math.max(this.#tick + 1, until - SLOT_COUNT + 1);
    this.#tick = until;
    for (let tick = from; tick <= until; tick++) this.#sweepSlot(tick % SLOT_COUNT, nowMs);
    if (this.#count > 0) this.#schedule();
    else this.#timer = undefined;
  }

  #fire(deadline: Deadline): void {
    try {
      deadline.onDeadline();
    } catch (error) {
      const { blamed } = deadline;
      if (blamed === undefined || this.onThrown === undefined) throw error;
      this.onThrown(error, blamed);
    }
  }

  #sweepSlot(slot: number, nowMs: number): void {
    let deadline = this.#slots[slot];
    while (deadline !== undefined) {
      const next: Deadline | undefined = deadline.next;
      this.#unlink(deadline);
      if (deadline.atMs <= nowMs) {
        deadline.atMs = Number.POSITIVE_INFINITY;
        this.#fire(deadline);
        // What it did may have changed this list: start over; those already handled are gone from it.
        deadline = this.#slots[slot];
        continue;
      }
      if (deadline.atMs !== Number.POSITIVE_INFINITY) this.#link(deadline);
      deadline = next;
    }
  }
}
