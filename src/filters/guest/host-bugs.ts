import type { FilterConfig } from "../../config/snapshot.ts";
import { describeCause } from "../../core/failure.ts";
import { HOST_BUG_LIMITS } from "../../core/limits.ts";
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
    if (this.#told.has(cause) || this.#told.size >= HOST_BUG_LIMITS.told) return;
    this.#told.add(cause);
    const { config } = this;
    const stack = error instanceof Error ? (error.stack ?? "") : "";
    this.log.error("the proxy failed around a filter: a bug of the proxy, please report it", {
      filter: config.name,
      reason: guestWords(config, cause).slice(0, HOST_BUG_LIMITS.chars),
      stack: guestWords(config, stack).slice(0, HOST_BUG_LIMITS.chars),
    });
  }
}
