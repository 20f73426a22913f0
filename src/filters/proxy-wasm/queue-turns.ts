import type { Clock, Timer } from "../../core/clock.ts";
import { QUEUE_LIMITS } from "../../core/limits.ts";
import { RateGate } from "../guest/rate-gate.ts";
import type { SharedQueue } from "../guest/shared.ts";
import type { FilterStats } from "../stats.ts";
import type { GuestInstance } from "./instance.ts";

/** What words about items need of the filter that is to hear them. */
export interface QueueTurnsOwner {
  readonly stats: FilterStats;
  readonly fuelUsed: number;
  hasShare(): boolean;
  guard(guest: GuestInstance, action: () => void): void;
  /** One that no exchange keeps for itself; undefined: none now, and `wake` comes when there is. */
  freeInstance(): GuestInstance | undefined;
}

/**
 * Tells a filter of items in its queues. A filter can feed its own queue, or that of another which feeds this one: so each round has a turn
 * of the event loop for itself, is bounded, and pays from the filter's share like ticks do.
 */
export class QueueTurns {
  /** Queues with something to tell of, and whose they are when one instance alone has them. The first was not heard of for longest. */
  readonly #ready = new Map<SharedQueue, GuestInstance | undefined>();
  readonly #gate: RateGate;
  #timer: Timer | undefined;
  #isHeld = false;
  #isOver = false;

  constructor(
    readonly owner: QueueTurnsOwner,
    readonly clock: Clock,
  ) {
    this.#gate = new RateGate(QUEUE_LIMITS.perSecond, clock);
  }

  add(queue: SharedQueue, own?: GuestInstance): void {
    if (this.#isOver) return;
    if (!this.#ready.has(queue)) this.#ready.set(queue, own);
    this.wake();
  }

  wake(): void {
    if (this.#ready.size > 0 && this.#timer === undefined && !this.#isHeld) this.#again(0);
  }

  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    this.wake();
  }

  end(): void {
    this.#isOver = true;
    this.#ready.clear();
    this.#timer?.cancel();
  }

  #again(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      if (!this.#isHeld) this.#round();
    });
  }

  #round(): void {
    const { owner } = this;
    const endFuel = owner.fuelUsed + QUEUE_LIMITS.turnFuel;
    for (let told = 0; told < QUEUE_LIMITS.perTurn && owner.fuelUsed < endFuel; ) {
      const next = this.#ready.entries().next().value;
      if (next === undefined) return;
      const [queue, own] = next;
      if (!queue.isDue || own?.canHear === false) {
        this.#ready.delete(queue);
        continue;
      }
      const guest = own ?? owner.freeInstance();
      if (guest === undefined) return;
      if (!owner.hasShare() || !this.#gate.take()) {
        owner.stats.waits++;
        this.#again(QUEUE_LIMITS.retryMs);
        return;
      }
      this.#ready.delete(queue);
      queue.takeDue();
      if (queue.isDue) this.#ready.set(queue, own);
      told++;
      owner.guard(guest, () => guest.onQueueReady(queue.id));
    }
    this.wake();
  }
}
