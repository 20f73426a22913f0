import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterHost, FilterModule } from "../contract.ts";
import { ModuleCompiler } from "../guest/compiler.ts";
import { type GuestOptions, withWholeBudget } from "../guest/module.ts";
import { compileCoreModules } from "./core-modules.ts";
import { ComponentModule } from "./module.ts";
import { parseComponent } from "./parse.ts";

export type ComponentOptions = GuestOptions;

/** The FilterHost for WebAssembly components of the worlds in filters-wasm/wit/filter.wit. */
export class ComponentHost implements FilterHost {
  readonly #compiler: ModuleCompiler;

  constructor(readonly options: ComponentOptions) {
    this.#compiler = options.compiler ?? new ModuleCompiler(options);
  }

  /**
   * Rejects with an `Error` whose message is the reason: bad bytes, an import that is not granted, or the guest's own words
   * about its settings.
   */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    const whole = withWholeBudget(config);
    const component = parseComponent(wasm);
    await compileCoreModules(component, whole, this.#compiler);
    return new ComponentModule(whole, this.options, component).start();
  }
}
