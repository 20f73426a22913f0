import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterHost, FilterModule } from "../contract.ts";
import { ModuleCompiler } from "../guest/compiler.ts";
import { type GuestOptions, withWholeBudget } from "../guest/module.ts";
import { exportedTypes, refuseWrongTypes } from "../guest/signatures.ts";
import { ExtismModule } from "./module.ts";
import { transformsOf } from "./settings.ts";

export type ExtismOptions = GuestOptions;

/** What is called: a plug-in says by an i32 that it failed, or says nothing. */
const PLUGIN_FUNCTION = ["() -> i32", "() -> ()"];
const CALLBACKS: Readonly<Record<string, readonly string[]>> = {
  on_configure: PLUGIN_FUNCTION,
  on_request: PLUGIN_FUNCTION,
  on_request_body: PLUGIN_FUNCTION,
  on_response: PLUGIN_FUNCTION,
  on_response_body: PLUGIN_FUNCTION,
  _initialize: PLUGIN_FUNCTION,
  _start: PLUGIN_FUNCTION,
  // Its arguments are those of a program: none.
  hs_init: [...PLUGIN_FUNCTION, "(i32, i32) -> ()"],
};

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
    const compiled = await this.#compiler.compile(wasm, whole.budget, whole.isolated);
    const { request, response } = transformsOf(whole.settings);
    const isTransform = (name: string): boolean => name === request || name === response;
    refuseWrongTypes(
      exportedTypes(wasm, (name) => isTransform(name) || Object.hasOwn(CALLBACKS, name)),
      (name) => (isTransform(name) ? PLUGIN_FUNCTION : CALLBACKS[name]),
    );
    return new ExtismModule(whole, this.options, compiled).start();
  }
}
