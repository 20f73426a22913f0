import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { FilterHost, FilterMetrics, FilterModule } from "../contract.ts";
import { compilePrepared } from "../guest/prepare.ts";
import type { SharedState } from "../guest/shared.ts";
import { ExtismModule } from "./module.ts";

export interface ExtismOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: FilterMetrics;
  /** One per process, together with the other ABIs: variables of plug-ins are in it. */
  readonly shared: SharedState;
}

/** The FilterHost for plug-ins of Extism; what they export as a filter is in docs/filters.md. */
export class ExtismHost implements FilterHost {
  constructor(readonly options: ExtismOptions) {}

  /**
   * Rejects with an `Error` whose message is the reason: bad bytes, an import that nobody grants, or the plug-in's own words
   * about its settings.
   */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    return ExtismModule.start(config, this.options, await compilePrepared(wasm, config.budget));
  }
}
