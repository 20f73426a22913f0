import type { FilterCapabilities, FilterConfig } from "../../config/snapshot.ts";
import type { Bytes } from "../../core/bytes.ts";

/**
 * A function of the host that a filter calls by name (`proxy_call_foreign_function`). `args` is a view of the guest's
 * memory, valid during the call. Answers the result (empty: none), or undefined when the arguments are wrong
 * (`BAD_ARGUMENT`). Must not throw, must not call back into a filter.
 */
export type ForeignFunction = (filter: FilterConfig, args: Bytes) => Bytes | undefined;

/** The same for what every request calls: the arguments lie at `[at, at + size)` of the guest's memory, and no view is made. */
export type PlacedForeignFunction = (filter: FilterConfig, memory: DataView, at: number, size: number) => Bytes | undefined;

interface Entry {
  readonly run: PlacedForeignFunction;
  readonly granted: (capabilities: FilterCapabilities) => boolean;
}

/** The foreign functions of a process. A name that is unknown or not granted to the filter is `NOT_FOUND` for it. */
export class ForeignFunctions {
  readonly #entries = new Map<string, Entry>();

  /** `granted` decides by the filter's capabilities who may call it. Throws when the name is taken. */
  register(name: string, run: ForeignFunction, granted: (capabilities: FilterCapabilities) => boolean): void {
    const placed: PlacedForeignFunction = (filter, memory, at, size) =>
      run(filter, new Uint8Array(memory.buffer, memory.byteOffset + at, size));
    this.registerPlaced(name, placed, granted);
  }

  /** `register` for a function that reads its arguments where they are. */
  registerPlaced(name: string, run: PlacedForeignFunction, granted: (capabilities: FilterCapabilities) => boolean): void {
    if (this.#entries.has(name)) throw new Error(`foreign function ${name} is registered twice`);
    this.#entries.set(name, { run, granted });
  }

  find(name: string, capabilities: FilterCapabilities): PlacedForeignFunction | undefined {
    const entry = this.#entries.get(name);
    return entry?.granted(capabilities) ? entry.run : undefined;
  }
}
