import { filterCheckKey, type TrialFault, type TryFilter } from "../config/filter-check.ts";
import type { FilterConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import { TRIAL_LIMITS } from "../core/limits.ts";
import type { Log } from "../core/log.ts";
import { saysOutOfFuel } from "../filters/guest/faults.ts";
import type { SelfCommand } from "../runtime/process.ts";
import { createFilterTrial } from "./filters.ts";
import { TrialProcess } from "./trial-process.ts";

interface Failure {
  readonly verdict: string | TrialFault;
  readonly untilMs: number;
}

export interface TrialTools {
  readonly clock: Clock;
  readonly log: Log;
  /** How the process is started that tries what is costly. Default: this program. */
  readonly self?: SelfCommand;
}

/**
 * Trials for a control plane, whose loop has more to do: on it as long as they are cheap, so that a change of settings takes
 * milliseconds; all others in a process of their own, which can be killed.
 */
export class FilterTrials {
  readonly aside: TrialProcess;
  readonly #here: ReturnType<typeof createFilterTrial>;
  /** Digests of modules whose starts were too costly to be tried here. */
  readonly #costly = new Set<string>();
  readonly #failures = new Map<string, Failure>();

  constructor(readonly tools: TrialTools) {
    const { clock, log, self } = tools;
    this.#here = createFilterTrial(clock, log);
    this.aside = new TrialProcess(clock, log.level, self);
  }

  readonly tryFilter: TryFilter = async (config, bytes) => {
    const nowMs = this.tools.clock.nowMs();
    const key = filterCheckKey(config);
    const known = this.#failures.get(key);
    if (known !== undefined && nowMs < known.untilMs) return known.verdict;
    this.#failures.delete(key);
    const verdict = await this.#try(config, bytes);
    if (verdict === undefined) return undefined;
    this.#failures.set(key, { verdict, untilMs: this.tools.clock.nowMs() + TRIAL_LIMITS.failedMs });
    forgetOldest(this.#failures);
    return verdict;
  };

  async #try(config: FilterConfig, bytes: Uint8Array): ReturnType<TryFilter> {
    const { digest, budget } = config;
    if (bytes.byteLength <= TRIAL_LIMITS.hereBytes && !this.#costly.has(digest)) {
      const startFuel = Math.min(budget.startFuel, TRIAL_LIMITS.hereFuel);
      const reason = await this.#here({ ...config, budget: { ...budget, startFuel } }, bytes);
      // Whether it had been good with more, only a trial with all of it can tell.
      if (startFuel === budget.startFuel || reason === undefined || !saysOutOfFuel(reason)) return reason;
      this.#costly.add(digest);
      forgetOldest(this.#costly);
    }
    return this.aside.run(config, bytes);
  }

  /** Ends what is under way: whoever waits for it is told that there is no answer. */
  close(): void {
    this.aside.close();
  }
}

/** They are in the order in which they came. */
function forgetOldest(known: Set<string> | Map<string, unknown>): void {
  for (const key of known.keys()) {
    if (known.size <= TRIAL_LIMITS.remembered) return;
    known.delete(key);
  }
}
