import type { FilterConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";

/** A filter's lines on the way to our log: so many per second; what is dropped is counted and told once the second is over. */
export class LogGate {
  #windowMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #dropped = 0;

  constructor(
    readonly config: FilterConfig,
    readonly target: Log,
    readonly clock: Clock,
  ) {}

  /** `level` as the ABI counts: trace 0 to critical 5. */
  write(level: number, message: string): void {
    // What nobody sees must not use up the lines of what matters.
    if (level < 2 && this.target.level !== "debug") return;
    const nowMs = this.clock.nowMs();
    if (nowMs - this.#windowMs >= 1000) {
      if (this.#dropped > 0)
        this.target.warn("log lines of a filter were dropped", { filter: this.config.name, lines: this.#dropped });
      this.#windowMs = nowMs;
      this.#lines = 0;
      this.#dropped = 0;
    }
    if (this.#lines >= this.config.budget.logLinesPerSecond) {
      this.#dropped++;
      return;
    }
    this.#lines++;
    const fields = { filter: this.config.name };
    if (level >= 4) this.target.error(message, fields);
    else if (level === 3) this.target.warn(message, fields);
    else if (level === 2) this.target.info(message, fields);
    else this.target.debug(message, fields);
  }
}
