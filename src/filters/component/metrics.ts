import type { FilterConfig } from "../../config/snapshot.ts";
import { PROXY_WASM_LIMITS } from "../../core/limits.ts";
import type { FilterMetrics } from "../contract.ts";

export type MetricKind = "counter" | "gauge" | "histogram";

/** The metrics that one filter defined: it reaches no others. */
export class GuestMetrics {
  readonly #ids = new Map<string, number>();
  readonly #kinds = new Map<number, MetricKind>();

  constructor(
    readonly config: FilterConfig,
    readonly target: FilterMetrics,
  ) {}

  /** Undefined: the budget is used up, or the name is too long. */
  define(kind: MetricKind, name: string): number | undefined {
    const key = `${kind}:${name}`;
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    if (this.#ids.size >= this.config.budget.metrics || name.length > PROXY_WASM_LIMITS.nameBytes) return undefined;
    const id = this.target.define(this.config.name, kind, name);
    if (id < 0) return undefined;
    this.#ids.set(key, id);
    this.#kinds.set(id, kind);
    return id;
  }

  /** Adds to a counter or gauge; what is none stays as it is. */
  increment(id: number, by: number): void {
    const kind = this.#kinds.get(id);
    if (kind === "counter" || kind === "gauge") this.target.increment(id, by);
  }

  /** Sets a gauge or records in a histogram. */
  observe(id: number, value: number): void {
    const kind = this.#kinds.get(id);
    if (kind === "gauge" || kind === "histogram") this.target.record(id, value);
  }
}
