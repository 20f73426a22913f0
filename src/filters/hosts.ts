import type { FilterAbi, FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import { describeCause } from "../core/failure.ts";
import type { FilterHost, FilterModule } from "./contract.ts";
import { guestWords } from "./guest/words.ts";

/** One host for all ABIs: each filter is loaded by the one that its module was made for. */
export class FilterHosts implements FilterHost {
  constructor(readonly byAbi: Readonly<Record<FilterAbi, FilterHost>>) {}

  async load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    try {
      return await this.byAbi[config.abi].load(wasm, config);
    } catch (error) {
      // What it says of its settings goes into issues, which others read.
      throw new Error(guestWords(config, describeCause(error)));
    }
  }
}
