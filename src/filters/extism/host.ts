import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterHost, FilterModule } from "../contract.ts";
import { ModuleCompiler } from "../guest/compiler.ts";
import { type GuestOptions, withWholeBudget } from "../guest/module.ts";
import { ExtismModule } from "./module.ts";

export type ExtismOptions = GuestOptions;

/** The FilterHost for plug-ins of Extism; what they export as a filter is in docs/filters.md. */
export class ExtismHost implements FilterHost {
  readonly #compiler: ModuleCompiler;

  constructor(readonly options: ExtismOptions) {
    this.#compiler = options.compiler ?? new ModuleCompiler(options);
  }

  /**
   * Rejects with an `Error` whose message is the reason: bad bytes, an import that nobody grants, or the plug-in's own words
   * about its settings.
   */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    const whole = withWholeBudget(config);
    return new ExtismModule(whole, this.options, await this.#compiler.compile(wasm, whole.budget, whole.isolated)).start();
  }
}
