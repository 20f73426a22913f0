import type { FilterConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { FilterLogs } from "../../core/filter-logs.ts";
import type { Log } from "../../core/log.ts";
import type { FilterExchange } from "../contract.ts";
import { guestWords } from "./words.ts";

const REQUEST_ID = ["request", "id"] as const;

/** A filter's lines on the way to our log: so many per second; what is dropped is counted and told once the second is over. */
export class LogGate {
  #windowMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #dropped = 0;

  constructor(
    readonly config: FilterConfig,
    readonly target: Log,
    readonly clock: Clock,
    /** Where its lines are kept; undefined: nowhere. */
    readonly kept?: FilterLogs,
  ) {}

  /** `level` as the ABI counts: trace 0 to critical 5. `exchange`: which it is about; nothing is asked of it unless the line counts. */
  write(level: number, said: string, exchange?: FilterExchange): void {
    // What nobody sees must not use up the lines of what matters.
    if (level < 2 && this.target.level !== "debug") return;
    const nowMs = this.clock.nowMs();
    let dropped = 0;
    if (nowMs - this.#windowMs >= 1000) {
      dropped = this.#dropped;
      if (dropped > 0) this.target.warn("log lines of a filter were dropped", { filter: this.config.name, lines: dropped });
      this.#windowMs = nowMs;
      this.#lines = 0;
      this.#dropped = 0;
    }
    if (this.#lines >= this.config.budget.logLinesPerSecond) {
      this.#dropped++;
      return;
    }
    this.#lines++;
    const message = guestWords(this.config, said);
    const id = exchange?.attribute(REQUEST_ID);
    const requestId = typeof id === "string" ? id : undefined;
    this.kept?.add(this.config.name, level, message, requestId, dropped);
    const fields = { filter: this.config.name, requestId };
    if (level >= 4) this.target.error(message, fields);
    else if (level === 3) this.target.warn(message, fields);
    else if (level === 2) this.target.info(message, fields);
    else this.target.debug(message, fields);
  }
}
