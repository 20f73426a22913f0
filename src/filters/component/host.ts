import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { FilterHost, FilterMetrics, FilterModule } from "../contract.ts";
import type { SharedState } from "../proxy-wasm/shared.ts";
import { compileCoreModules } from "./core-modules.ts";
import { ComponentModule } from "./module.ts";
import { parseComponent } from "./parse.ts";

export interface ComponentOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: FilterMetrics;
  /** One per process, together with the other ABIs. */
  readonly shared: SharedState;
}

/** The FilterHost for WebAssembly components of the worlds in filters-wasm/wit/filter.wit. */
export class ComponentHost implements FilterHost {
  constructor(readonly options: ComponentOptions) {}

  /** Rejects with an `Error` whose message is the reason: bad bytes, an import that is not granted, or the guest's own words about its settings. */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    const component = parseComponent(wasm);
    await compileCoreModules(component, config.budget);
    return ComponentModule.start(config, this.options, component);
  }
}
