import type { FilterContext, Verdict } from "./contract.ts";

/** Stands for a context that there is not: it fails every callback. */
export class FailedContext implements FilterContext {
  readonly spentMs = 0;

  constructor(readonly verdict: Verdict) {}

  wantsBody(): boolean {
    return true;
  }
  wantsTrailers(): boolean {
    return true;
  }
  onRequestHead(): Verdict {
    return this.verdict;
  }
  onRequestData(): Verdict {
    return this.verdict;
  }
  onRequestTrailers(): Verdict {
    return this.verdict;
  }
  onResponseHead(): Verdict {
    return this.verdict;
  }
  onResponseData(): Verdict {
    return this.verdict;
  }
  onResponseTrailers(): Verdict {
    return this.verdict;
  }
  onLog(): void {}
  close(): void {}
  spentFuel(): number {
    return 0;
  }
}
