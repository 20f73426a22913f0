import type { Restorable } from "./isolation.ts";

/**
 * The metrics that an instance knows, by the numbers that it is given: those of the process, or, when it is isolated, its own, which
 * begin again with each exchange. Those of the process would tell how many others defined.
 */
export class MetricHandles implements Restorable {
  readonly #ids: number[] = [];
  #kept = 0;

  constructor(readonly isIsolated: boolean) {}

  keep(): void {
    this.#kept = this.#ids.length;
  }
  restore(): void {
    this.#ids.length = this.#kept;
  }

  /** Knows what another one knows. */
  follow(other: MetricHandles): void {
    this.#ids.length = 0;
    this.#ids.push(...other.#ids);
  }

  /** The number that stands for a metric. */
  add(id: number): number {
    if (!this.isIsolated) return id;
    const known = this.#ids.indexOf(id);
    return known < 0 ? this.#ids.push(id) : known + 1;
  }

  /** The metric that it means; -1: none. */
  get(handle: number): number {
    return this.isIsolated ? (this.#ids[handle - 1] ?? -1) : handle;
  }
}
