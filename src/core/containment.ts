import type { Clock } from "./clock.ts";
import { describeCause, Failure } from "./failure.ts";
import { BUG_LIMITS } from "./limits.ts";
import type { Log } from "./log.ts";

/** Whom a bug of ours costs: one connection, or what one carries. */
export interface Blamed {
  /**
   * Breaks off at once, in whatever state it is, gives back all that it holds (each in a step of its own), and does the same to who shares
   * its fate. Idempotent.
   */
  abandon(bug: Bug): void;
}

/** An error of ours, while whom it struck is being given up. */
export class Bug {
  /** `internal`; its addresses say what was given up. */
  readonly failure: Failure;
  /** What threw while things were given back. */
  readonly further: unknown[] = [];

  constructor(readonly error: unknown) {
    this.failure = new Failure("internal", "a bug of the proxy, contained", error);
  }

  /** Gives one thing back: whatever throws in it must not keep the next one from being given back. */
  step(giveBack: () => void): void {
    try {
      giveBack();
    } catch (error) {
      this.further.push(error);
    }
  }
}

/** For the log: what it was and where it happened, both cut. `words`: what to make of texts in which something secret may stand. */
export function bugFields(error: unknown, words: (text: string) => string = (text) => text) {
  const stack = error instanceof Error ? (error.stack ?? "") : "";
  const cut = (text: string): string => words(text).slice(0, BUG_LIMITS.chars);
  return { reason: cut(describeCause(error)), stack: cut(stack) };
}

/**
 * A bug that strikes on one connection costs that connection. One that strikes again and again may have left anything behind: then the
 * error goes on its way, and ends the process.
 */
export class Containment {
  #windowMs = Number.NEGATIVE_INFINITY;
  #count = 0;

  constructor(
    /** Not the clock that connections read. */
    readonly time: Clock,
    readonly log: Log,
    readonly onContained: () => void,
  ) {}

  /** Gives `blamed` up. Throws `error` again when there were more than `BUG_LIMITS.containedPerMinute`. */
  contain(error: unknown, blamed: Blamed): void {
    const nowMs = this.time.nowMs();
    if (nowMs - this.#windowMs >= 60_000) {
      this.#windowMs = nowMs;
      this.#count = 0;
    }
    if (++this.#count > BUG_LIMITS.containedPerMinute) {
      const most = BUG_LIMITS.containedPerMinute;
      this.log.error(`more than ${most} bugs of the proxy within a minute: this process ends`, bugFields(error));
      throw error;
    }
    const bug = new Bug(error);
    bug.step(() => blamed.abandon(bug));
    bug.step(this.onContained);
    const further = bug.further.map((each) => bugFields(each).reason);
    this.log.error("the proxy failed on a connection, and gave it up: a bug of the proxy, please report it", {
      ...bugFields(error),
      at: bug.failure.at.join(", "),
      ...(further.length === 0 ? {} : { further: further.join("; ").slice(0, BUG_LIMITS.chars) }),
    });
  }
}
