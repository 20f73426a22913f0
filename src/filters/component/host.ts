import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterBudget } from "../../core/limits.ts";
import type { FilterHost, FilterModule } from "../contract.ts";
import type { GuestOptions } from "../guest/module.ts";
import { compileCoreModules } from "./core-modules.ts";
import type { ComponentDefinition } from "./definitions.ts";
import { ComponentModule } from "./module.ts";
import { parseComponent } from "./parse.ts";

export type ComponentOptions = GuestOptions;

/** The FilterHost for WebAssembly components of the worlds in filters-wasm/wit/filter.wit. */
export class ComponentHost implements FilterHost {
  /** Prepared components by their bytes, for as long as somebody holds those: filters of one component compile it once. */
  readonly #prepared = new WeakMap<Bytes, Map<string, Promise<ComponentDefinition>>>();

  constructor(readonly options: ComponentOptions) {}

  /**
   * Rejects with an `Error` whose message is the reason: bad bytes, an import that is not granted, or the guest's own words
   * about its settings.
   */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    return new ComponentModule(config, this.options, await this.#prepare(wasm, config.budget)).start();
  }

  #prepare(wasm: Bytes, budget: FilterBudget): Promise<ComponentDefinition> {
    const byBudget = this.#prepared.get(wasm) ?? new Map<string, Promise<ComponentDefinition>>();
    this.#prepared.set(wasm, byBudget);
    const key = `${budget.memoryBytes} ${budget.startFuel}`;
    let preparing = byBudget.get(key);
    if (preparing === undefined) {
      preparing = prepareComponent(wasm, budget);
      byBudget.set(key, preparing);
    }
    return preparing;
  }
}

async function prepareComponent(wasm: Bytes, budget: FilterBudget): Promise<ComponentDefinition> {
  const component = parseComponent(wasm);
  await compileCoreModules(component, budget);
  return component;
}
