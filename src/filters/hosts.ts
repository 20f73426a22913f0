import type { FilterAbi, FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { FilterHost, FilterModule } from "./contract.ts";

/** One host for all ABIs: each filter is loaded by the one that its module was made for. */
export class FilterHosts implements FilterHost {
  constructor(readonly byAbi: Readonly<Record<FilterAbi, FilterHost>>) {}

  load(wasm: Bytes, config: FilterConfig): Promise<FilterModule> {
    return this.byAbi[config.abi].load(wasm, config);
  }
}
