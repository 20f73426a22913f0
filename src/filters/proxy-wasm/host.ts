import { createHash } from "node:crypto";
import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import { DEFAULT_FILTER_BUDGET, type FilterBudget } from "../../core/limits.ts";
import type { CalloutAnswer, CalloutRequest, FilterHost, FilterModule } from "../contract.ts";
import type { GuestOptions } from "../guest/module.ts";
import { compilePrepared } from "../guest/prepare.ts";
import type { ForeignFunctions } from "./foreign.ts";
import { ProxyWasmModule } from "./module.ts";

export interface ProxyWasmOptions extends GuestOptions {
  readonly foreign: ForeignFunctions;
  /** Calls that belong to no exchange (from a tick); 0: refused. */
  readonly callout?: (filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void) => number;
}

/** The FilterHost for proxy-wasm 0.1.0, 0.2.0 and 0.2.1 modules. */
export class ProxyWasmHost implements FilterHost {
  /** What is compiled, as long as somebody uses it: other settings of a module compile nothing, and begin with code that is warm. */
  readonly #compiled = new Map<string, WeakRef<WebAssembly.Module>>();

  constructor(readonly options: ProxyWasmOptions) {}

  /** Rejects with an `Error` whose message is the reason: bad bytes, a missing export, or the guest's own words about its settings. */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    // A snapshot that an earlier version kept on disk knows fewer budgets.
    const whole = { ...config, budget: { ...DEFAULT_FILTER_BUDGET, ...config.budget } };
    const compiled = await this.#compile(wasm, whole.budget);
    return new ProxyWasmModule(whole, this.options, compiled).start();
  }
  async #compile(wasm: Bytes, budget: FilterBudget): Promise<WebAssembly.Module> {
    const digest = createHash("sha256").update(wasm).digest("hex");
    // All of the budget that goes into the rewritten bytes.
    const key = `${digest} ${budget.startFuel} ${budget.memoryBytes}`;
    const known = this.#compiled.get(key)?.deref();
    if (known !== undefined) return known;
    const compiled = await compilePrepared(wasm, budget);
    for (const [other, reference] of this.#compiled) if (reference.deref() === undefined) this.#compiled.delete(other);
    this.#compiled.set(key, new WeakRef(compiled));
    return compiled;
  }
}
