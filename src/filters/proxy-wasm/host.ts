import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import { KEPT_START_LIMITS } from "../../core/limits.ts";
import type { CalloutAnswer, CalloutRequest, FilterHost, FilterModule } from "../contract.ts";
import { ModuleCompiler } from "../guest/compiler.ts";
import { type GuestOptions, withWholeBudget } from "../guest/module.ts";
import type { ForeignFunctions } from "./foreign.ts";
import { ProxyWasmModule } from "./module.ts";
import { refuseWrongCallbacks } from "./signatures.ts";

export interface ProxyWasmOptions extends GuestOptions {
  readonly foreign: ForeignFunctions;
  /** Calls that belong to no exchange (from a tick); 0: refused. */
  readonly callout?: (filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void) => number;
}

/** The FilterHost for proxy-wasm 0.1.0, 0.2.0 and 0.2.1 modules. */
export class ProxyWasmHost implements FilterHost {
  readonly #compiler: ModuleCompiler;

  constructor(readonly options: ProxyWasmOptions) {
    this.#compiler = options.compiler ?? new ModuleCompiler(options);
  }

  /** Rejects with an `Error` whose message is the reason: bad bytes, a missing export or one of the wrong type, or the guest's own words about its settings. */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    const whole = withWholeBudget(config);
    const keeps = whole.isolated || whole.budget.startFuel > KEPT_START_LIMITS.startFuel;
    const compiled = await this.#compiler.compile(wasm, whole.budget, keeps);
    refuseWrongCallbacks(wasm);
    return new ProxyWasmModule(whole, this.options, compiled).start();
  }
}
