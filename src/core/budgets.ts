import type { Clock } from "./clock.ts";

/** So much of something may be held at a time. What does not fit is refused at once: who waits would hold something meanwhile. */
export class Budget {
  #held = 0;

  constructor(readonly max: number) {}

  get held(): number {
    return this.#held;
  }

  /** A part of it that nobody has taken anything for yet. */
  share(): Share {
    return new Share((amount) => {
      if (this.#held + amount > this.max) return false;
      this.#held += amount;
      return true;
    });
  }
}

/** What one holder has of a `Budget`. */
export class Share {
  #held = 0;
  #isOver = false;

  constructor(private readonly change: (amount: number) => boolean) {}

  /** False: it does not fit, or the holder has ended, and nothing was taken. */
  take(amount: number): boolean {
    if (this.#isOver || !this.change(amount)) return false;
    this.#held += amount;
    return true;
  }

  /** Gives back what is above `amount`, and takes no more. Idempotent. */
  end(amount = 0): void {
    this.#isOver = true;
    const surplus = this.#held - Math.min(this.#held, amount);
    this.#held -= surplus;
    this.change(-surplus);
  }
}

/** What is spent is forgotten in steps of this part of the window: at the latest so much later than it could be. */
const STEPS = 10;

/**
 * So much may be spent within a window of time, by each of those who spend and by all together. Remembers nobody who spent nothing within
 * the window, so that its memory has a bound when each spends something.
 */
export class WindowBudget {
  /** By step of time, oldest first: what each spent in it. */
  readonly #steps = new Map<number, Map<string, number>>();
  /** The sums of that. */
  readonly #spent = new Map<string, number>();
  #all = 0;

  constructor(
    readonly clock: Clock,
    readonly limits: { readonly each: number; readonly all: number; readonly windowMs: number },
  ) {}

  /** What `who` may spend now; never negative. */
  left(who: string): number {
    this.#forget();
    const { each, all } = this.limits;
    return Math.max(0, Math.min(each - (this.#spent.get(who) ?? 0), all - this.#all));
  }

  spend(who: string, amount: number): void {
    if (amount <= 0) return;
    const now = this.#now();
    const step = this.#steps.get(now) ?? new Map<string, number>();
    this.#steps.set(now, step);
    this.#add(step, who, amount);
    this.#add(this.#spent, who, amount);
    this.#all += amount;
  }

  #add(sums: Map<string, number>, who: string, amount: number): void {
    const sum = (sums.get(who) ?? 0) + amount;
    if (sum > 0) sums.set(who, sum);
    else sums.delete(who);
  }

  #now(): number {
    return Math.floor((this.clock.nowMs() * STEPS) / this.limits.windowMs);
  }

  #forget(): void {
    const oldest = this.#now() - STEPS;
    for (const [at, step] of this.#steps) {
      if (at >= oldest) return;
      this.#steps.delete(at);
      for (const [who, amount] of step) {
        this.#add(this.#spent, who, -amount);
        this.#all -= amount;
      }
    }
  }
}
