import type { FilterConfig } from "../../config/snapshot.ts";
import { bugFields } from "../../core/containment.ts";
import { describeCause } from "../../core/failure.ts";
import { BUG_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import { guestWords } from "./words.ts";

/** What of ours threw around a filter, for whoever mends it: each once, with where it happened. How often it did is counted elsewhere. */
export class HostBugs {
  readonly #told = new Set<string>();

  constructor(
    readonly config: FilterConfig,
    readonly log: Log,
  ) {}

  tell(error: unknown): void {
    const cause = describeCause(error);
    if (this.#told.has(cause) || this.#told.size >= BUG_LIMITS.toldPerFilter) return;
    this.#told.add(cause);
    const { config } = this;
    this.log.error("the proxy failed around a filter: a bug of the proxy, please report it", {
      filter: config.name,
      ...bugFields(error, (text) => guestWords(config, text)),
    });
  }
}
