import { type FilterContext, PAUSE, type Verdict } from "./contract.ts";

const TOO_EARLY: Verdict = { kind: "fail", reason: "no instance was free before there was an answer", fault: "budget" };

/** Stands for a context whose exchange waits for an instance: it holds the head of the request, until it is replaced (`FilterExchange.replay`). */
export class AwaitingContext implements FilterContext {
  readonly wantsRequestBody = true;
  readonly wantsResponseBody = true;
  readonly spentMs = 0;

  constructor(
    /** It is closed before it got one. */
    readonly onGone: () => void,
    /** What it waits for, as of now. */
    readonly describe: () => string,
  ) {}

  get waitsFor(): string {
    return this.describe();
  }

  onRequestHead(): Verdict {
    return PAUSE;
  }
  onRequestData(): Verdict {
    return TOO_EARLY;
  }
  onRequestTrailers(): Verdict {
    return TOO_EARLY;
  }
  /** An answer of somebody else's: what this filter has not seen does not pass it. */
  onResponseHead(): Verdict {
    return TOO_EARLY;
  }
  onResponseData(): Verdict {
    return TOO_EARLY;
  }
  onResponseTrailers(): Verdict {
    return TOO_EARLY;
  }
  onLog(): void {}
  close(): void {
    this.onGone();
  }
  spentFuel(): number {
    return 0;
  }
}
