import type { FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { FilterHost, FilterModule } from "./contract.ts";

/** A share in a loaded module. `release` is idempotent; the last one disposes of the module. */
export interface FilterLease {
  readonly module: FilterModule;
  release(): void;
}

interface Entry {
  readonly loading: Promise<FilterModule>;
  holders: number;
}

/**
 * Loaded modules by identity: generations whose filters are equal share the instances, so a reload that does not touch a
 * filter does not restart it, and what its guests remember survives.
 */
export class FilterRegistry {
  readonly #entries = new Map<string, Entry>();

  constructor(readonly host: FilterHost) {}

  /** How many different modules are held or being loaded. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Loads or shares. `wasm` is asked for only when nobody holds that identity; two who ask at once wait for one load. Rejects
   * as `FilterHost.load` does; then nothing is held, and the next one tries again.
   */
  async acquire(config: FilterConfig, wasm: (digest: string) => Promise<Bytes>): Promise<FilterLease> {
    const key = identityOf(config);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { loading: this.#load(config, wasm), holders: 0 };
      this.#entries.set(key, entry);
    }
    entry.holders++;
    try {
      const module = await entry.loading;
      return this.#lease(key, entry, module);
    } catch (error) {
      if (--entry.holders === 0 && this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  async #load(config: FilterConfig, wasm: (digest: string) => Promise<Bytes>): Promise<FilterModule> {
    return this.host.load(await wasm(config.digest), config);
  }

  #lease(key: string, entry: Entry, module: FilterModule): FilterLease {
    let held = true;
    return {
      module,
      release: () => {
        if (!held) return;
        held = false;
        if (--entry.holders > 0) return;
        this.#entries.delete(key);
        module.dispose();
      },
    };
  }

  /** The modules that are loaded, for status. */
  async modules(): Promise<FilterModule[]> {
    const loaded = await Promise.allSettled([...this.#entries.values()].map((entry) => entry.loading));
    return loaded.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
  }
}

/**
 * Everything that makes a difference to a running module. Where its bytes came from does not; snapshots are canonical, so
 * equal configurations have their keys in the same order.
 */
function identityOf(config: FilterConfig): string {
  const { name, abi, digest, settings, onFailure, isolated, budget, capabilities } = config;
  return JSON.stringify([name, abi, digest, settings, onFailure, isolated, budget, capabilities]);
}
