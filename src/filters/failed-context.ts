import type { FilterContext, Verdict } from "./contract.ts";

/** Stands for a context that could not be made: it fails every callback. */
export class FailedContext implements FilterContext {
  readonly wantsRequestBody = true;
  readonly wantsResponseBody = true;
  readonly spentMs = 0;
  readonly #verdict: Verdict;

  /** `reason`: of a fault that is counted already. */
  constructor(reason: string) {
    this.#verdict = { kind: "fail", reason };
  }

  onRequestHead(): Verdict {
    return this.#verdict;
  }
  onRequestData(): Verdict {
    return this.#verdict;
  }
  onRequestTrailers(): Verdict {
    return this.#verdict;
  }
  onResponseHead(): Verdict {
    return this.#verdict;
  }
  onResponseData(): Verdict {
    return this.#verdict;
  }
  onResponseTrailers(): Verdict {
    return this.#verdict;
  }
  onLog(): void {}
  close(): void {}
  spentFuel(): number {
    return 0;
  }
}
