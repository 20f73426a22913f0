/**
 * Time, injected. Only this folder reads it. Real time for the product, virtual time for tests and simulations.
 */

/** A pending timer; `cancel` is idempotent. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Monotonic time in milliseconds, with fractions; its zero is arbitrary. */
  nowMs(): number;
  /** Wall-clock time in milliseconds since 1970-01-01T00:00Z; may jump. */
  wallMs(): number;
  /** Calls `fire` once after at least `delayMs`. Does not keep the process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
}

/** The machine's clock. `keepsAlive`: its timers do keep the process alive, for a command that does nothing but wait. */
export class SystemClock implements Clock {
  constructor(readonly keepsAlive = false) {}

  nowMs(): number {
    return performance.now();
  }
  wallMs(): number {
    return Date.now();
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    const handle = setTimeout(fire, delayMs);
    if (!this.keepsAlive) handle.unref?.();
    return { cancel: () => clearTimeout(handle) };
  }
}

interface VirtualTimer {
  readonly atMs: number;
  readonly order: number;
  readonly fire: () => void;
  cancelled: boolean;
}

/** A clock that moves only when told: `advance` fires what falls due, in order of time, then of creation. */
export class VirtualClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #timers: VirtualTimer[] = [];

  constructor(readonly startWallMs = 1_700_000_000_000) {}

  nowMs(): number {
    return this.#nowMs;
  }
  wallMs(): number {
    return this.startWallMs + this.#nowMs;
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    const timer: VirtualTimer = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire, cancelled: false };
    this.#timers.push(timer);
    return {
      cancel: () => {
        timer.cancelled = true;
      },
    };
  }

  /** How many timers are pending: a test that ends with some has a leak. */
  get pending(): number {
    return this.#timers.filter((timer) => !timer.cancelled).length;
  }

  /** Moves time by `byMs`, firing every timer on the way (also those set by fired ones). */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      this.#timers = this.#timers.filter((timer) => !timer.cancelled);
      let next: VirtualTimer | undefined;
      for (const timer of this.#timers) {
        if (timer.atMs > endMs) continue;
        if (next === undefined || timer.atMs < next.atMs || (timer.atMs === next.atMs && timer.order < next.order)) next = timer;
      }
      if (next === undefined) break;
      next.cancelled = true;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.fire();
    }
    this.#nowMs = endMs;
  }
}
