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

  constructor(
    readonly clock: Clock,
    readonly limits: { readonly each: number; readonly all: number; readonly windowMs: number },
  ) {}

  /** What `who` may spend now; never negative. */
  left(who: string): number {
    this.#forget();
    let [own, all] = [0, 0];
    for (const step of this.#steps.values())
      for (const [other, spent] of step) {
        all += spent;
        if (other === who) own += spent;
      }
    return Math.max(0, Math.min(this.limits.each - own, this.limits.all - all));
  }

  spend(who: string, amount: number): void {
    if (amount <= 0) return;
    const now = Math.floor(this.clock.nowMs() / this.#stepMs);
    const step = this.#steps.get(now) ?? new Map<string, number>();
    this.#steps.set(now, step.set(who, (step.get(who) ?? 0) + amount));
  }

  get #stepMs(): number {
    return this.limits.windowMs / STEPS;
  }

  #forget(): void {
    const oldest = Math.floor(this.clock.nowMs() / this.#stepMs) - STEPS;
    for (const step of this.#steps.keys()) if (step < oldest) this.#steps.delete(step);
  }
}
