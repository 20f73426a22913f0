import { PAUSE, type Verdict } from "./contract.ts";
import { FailedContext } from "./failed-context.ts";

const TOO_EARLY: Verdict = { kind: "fail", reason: "no instance was free before there was an answer", fault: "budget" };

/**
 * Stands for a context whose exchange waits for an instance: it holds the head of the request, until it is replaced
 * (`FilterExchange.replay`). Everything else comes too early, also an answer of somebody else's: what this filter has not seen does
 * not pass it.
 */
export class AwaitingContext extends FailedContext {
  constructor(
    /** It is closed before it got one. */
    readonly onGone: () => void,
    /** What it waits for, as of now. */
    readonly describe: () => string,
  ) {
    super(TOO_EARLY);
  }

  get waitsFor(): string {
    return this.describe();
  }

  override onRequestHead(): Verdict {
    return PAUSE;
  }
  override close(): void {
    this.onGone();
  }
}
