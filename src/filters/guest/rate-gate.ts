import type { Clock } from "../../core/clock.ts";

/** So many of something within a second. */
export class RateGate {
  #windowMs = Number.NEGATIVE_INFINITY;
  #taken = 0;

  constructor(
    readonly perSecond: number,
    readonly clock: Clock,
  ) {}

  take(): boolean {
    const nowMs = this.clock.nowMs();
    if (nowMs - this.#windowMs >= 1000) {
      this.#windowMs = nowMs;
      this.#taken = 0;
    }
    if (this.#taken >= this.perSecond) return false;
    this.#taken++;
    return true;
  }
}
