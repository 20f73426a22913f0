import type { FilterConfig } from "../config/snapshot.ts";
import type { Bytes } from "../core/bytes.ts";
import type { Log } from "../core/log.ts";
import type { DisabledBy, FilterAction, FilterHost, FilterMetrics, FilterModule } from "./contract.ts";

/** A share in a loaded module. `release` is idempotent; the last one disposes of the module. */
export interface FilterLease {
  readonly module: FilterModule;
  release(): void;
}

interface Entry {
  /** Of the filter. */
  readonly name: string;
  readonly loading: Promise<FilterModule>;
  /** Undefined while it loads. */
  module: FilterModule | undefined;
  holders: number;
}

/**
 * Loaded modules by identity: generations whose filters are equal share the instances, so a reload that does not touch a
 * filter does not restart it, and what its guests remember survives.
 */
export class FilterRegistry {
  readonly #entries = new Map<string, Entry>();
  /** Filters that were switched off by hand: whatever is loaded under their names is, too. */
  readonly #disabled = new Set<string>();
  /** Modules of the generation that serves, by name of the filter. */
  #serving: ReadonlyMap<string, FilterModule> = new Map();
  /** Those of them that are off, as was told. */
  readonly #told = new Map<string, DisabledBy>();

  constructor(
    readonly host: FilterHost,
    /** Hears which filters are switched off and on. Absent: nobody does. */
    readonly teller?: { readonly log: Log; readonly metrics: FilterMetrics },
  ) {}

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
      entry = { name: config.name, loading: this.#load(config, wasm), module: undefined, holders: 0 };
      this.#entries.set(key, entry);
    }
    entry.holders++;
    try {
      const module = await entry.loading;
      entry.module = module;
      return this.#lease(key, entry, module);
    } catch (error) {
      if (--entry.holders === 0 && this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  async #load(config: FilterConfig, wasm: (digest: string) => Promise<Bytes>): Promise<FilterModule> {
    const module = await this.host.load(await wasm(config.digest), config);
    module.holdTicks?.(true);
    if (this.#disabled.has(config.name)) module.control("disable");
    return module;
  }

  /** Does it to all modules of that name, also to those that come later. */
  control(filter: string, action: FilterAction): void {
    if (action === "disable") this.#disabled.add(filter);
    if (action === "enable") this.#disabled.delete(filter);
    for (const { name, loading, module } of this.#entries.values()) {
      if (name !== filter) continue;
      // One that does not load is told to whoever asked for it.
      if (module !== undefined) module.control(action);
      else
        loading.then(
          (late) => late.control(action),
          () => {},
        );
    }
    const module = this.#serving.get(filter);
    if (module !== undefined) this.#tell(module, "by hand");
  }

  /** These serve from now on, as of that revision: what is on or off with them that was not before is told. */
  serve(modules: readonly FilterModule[], revision: number): void {
    this.#serving = new Map(modules.map((module) => [module.config.name, module]));
    for (const module of modules) module.holdTicks?.(false);
    for (const name of [...this.#told.keys()]) {
      if (this.#serving.has(name)) continue;
      this.#told.delete(name);
      this.teller?.metrics.onDisabled?.(name, false);
    }
    for (const module of modules) this.#tell(module, `by configuration, revision ${revision}`);
  }

  /** Once for each process, however many generations hold a module of that name. */
  #tell(module: FilterModule, who: string): void {
    const { name: filter, onFailure } = module.config;
    const { disabledBy } = module.status();
    if (this.teller === undefined || disabledBy === this.#told.get(filter)) return;
    const { log, metrics } = this.teller;
    if (disabledBy === undefined) {
      this.#told.delete(filter);
      metrics.onDisabled?.(filter, false, who);
      log.info("a filter was enabled", { filter, reason: who });
      return;
    }
    // What was switched off by hand stays so in every later generation.
    const reason = disabledBy === "hand" ? "by hand" : who;
    this.#told.set(filter, disabledBy);
    metrics.onDisabled?.(filter, true, reason);
    log.warn("a filter was disabled", { filter, reason, onFailure });
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
  const { name, abi, digest, settings, onFailure, pauseHolds, rootId, isolated, disabled, release, budget, capabilities } =
    config;
  return JSON.stringify([
    name,
    abi,
    digest,
    settings,
    onFailure,
    pauseHolds,
    rootId,
    isolated,
    disabled,
    release,
    budget,
    capabilities,
  ]);
}
