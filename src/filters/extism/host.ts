import type { FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";
import type { FilterHost, FilterModule } from "../contract.ts";
import type { GuestOptions } from "../guest/module.ts";
import { compilePrepared } from "../guest/prepare.ts";
import { ExtismModule } from "./module.ts";

export type ExtismOptions = GuestOptions;

/** The FilterHost for plug-ins of Extism; what they export as a filter is in docs/filters.md. */
export class ExtismHost implements FilterHost {
  constructor(readonly options: ExtismOptions) {}

  /**
   * Rejects with an `Error` whose message is the reason: bad bytes, an import that nobody grants, or the plug-in's own words
   * about its settings.
   */
  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    return new ExtismModule(config, this.options, await compilePrepared(wasm, config.budget)).start();
  }
}
