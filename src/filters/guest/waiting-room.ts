import type { Timer } from "../../core/clock.ts";
import { ISOLATION_LIMITS } from "../../core/limits.ts";
import type { InstancePool, PooledInstance } from "./pool.ts";

/** An instance, or a text: why there is none (for `refusalOf`). */
type Start<Instance> = (leased: Instance | string) => void;

/** Who waits for an instance of a pool whose instances are for one at a time, served in order. */
export class WaitingRoom<Waiter, Instance extends PooledInstance<unknown>> {
  readonly #queue = new Map<Waiter, Start<Instance>>();
  #isServing = false;
  #timer: Timer | undefined;

  /** `most`: how many may wait. */
  constructor(
    readonly pool: InstancePool<unknown, Instance>,
    readonly most: number,
  ) {}

  /** An instance; a text: why there is none; undefined: all are in use, or others wait already. */
  now(): Instance | string | undefined {
    if (this.#queue.size > 0) return undefined;
    const leased = this.pool.lease();
    return typeof leased === "string" && this.pool.isFull ? undefined : leased;
  }

  /** `start` gets an instance later, or why there is none, unless `forget` comes before. A text: too many wait. */
  wait(waiter: Waiter, start: Start<Instance>): string | undefined {
    const { most, pool } = this;
    if (this.#queue.size >= most) {
      pool.options.stats.onFault("budget");
      return `more than ${most} exchanges wait for an instance: ${pool.fullReason}`;
    }
    this.#queue.set(waiter, start);
    return undefined;
  }

  forget(waiter: Waiter): void {
    this.#queue.delete(waiter);
  }

  /** The same as `serve`, but in a turn of the loop of its own. */
  wake(): void {
    if (this.#queue.size === 0 || this.#timer !== undefined) return;
    this.#timer = this.pool.options.clock.setTimer(0, () => {
      this.#timer = undefined;
      this.serve();
    });
  }

  /** There may be one for somebody. */
  serve(): void {
    if (this.#isServing) return;
    this.#isServing = true;
    let served = 0;
    try {
      for (const [waiter, start] of this.#queue) {
        if (served === ISOLATION_LIMITS.servedPerTurn) break;
        const leased = this.pool.lease();
        if (typeof leased === "string" && this.pool.isFull) break;
        this.#queue.delete(waiter);
        served++;
        start(leased);
      }
    } finally {
      this.#isServing = false;
    }
    if (served === ISOLATION_LIMITS.servedPerTurn) this.wake();
  }
}
