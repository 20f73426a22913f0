import assert from "node:assert/strict";
import { DEPTH_EXPORT, FUEL_EXPORT, type MeterOptions, type MeterReport, meterModule } from "../../src/filters/meter/index.ts";

export const TEST_METER: MeterOptions = { fuel: 1_000_000, memoryBytes: 4 * 65_536, tableElements: 1_000 };

/** An instance of a metered module, with its two counters as fields. */
export class MeteredGuest {
  readonly exports: WebAssembly.Exports;
  readonly report: MeterReport;

  /** Validates the original first, as a host has to. Throws what the start function throws. */
  constructor(wasm: Uint8Array<ArrayBuffer>, options: Partial<MeterOptions> = {}, imports: WebAssembly.Imports = {}) {
    assert.ok(WebAssembly.validate(wasm), "the original must be valid");
    const { bytes, report } = meterModule(wasm, { ...TEST_METER, ...options });
    assert.ok(WebAssembly.validate(bytes), "the rewritten module must be valid");
    this.report = report;
    this.exports = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports;
  }

  #global(name: string): WebAssembly.Global {
    return this.exports[name] as WebAssembly.Global;
  }
  get fuel(): number {
    return this.#global(FUEL_EXPORT).value as number;
  }
  set fuel(value: number) {
    this.#global(FUEL_EXPORT).value = value;
  }
  get depth(): number {
    return this.#global(DEPTH_EXPORT).value as number;
  }
  set depth(value: number) {
    this.#global(DEPTH_EXPORT).value = value;
  }

  call(name: string, ...args: unknown[]): unknown {
    return (this.exports[name] as (...values: unknown[]) => unknown)(...args);
  }

  /** Fuel that one call takes. */
  cost(name: string, ...args: unknown[]): number {
    const before = this.fuel;
    this.call(name, ...args);
    return before - this.fuel;
  }
}
