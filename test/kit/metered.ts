import assert from "node:assert/strict";
import {
  DEPTH_EXPORT,
  FUEL_EXPORT,
  type MeterOptions,
  type MeterReport,
  type MeterSwap,
  meterModule,
  START_EXPORT,
} from "../../src/filters/meter/index.ts";

export const TEST_METER: MeterOptions = { fuel: 1_000_000, memoryBytes: 4 * 65_536, tableElements: 1_000 };

/** Sets a counter of an instance; answers what was in it. */
export const setMeter = (exports: WebAssembly.Exports, name: string, value: number): number =>
  (exports[name] as MeterSwap)(value);

export function readMeter(exports: WebAssembly.Exports, name: string): number {
  const value = setMeter(exports, name, 0);
  setMeter(exports, name, value);
  return value;
}

/** As a host has to, after the instance was made. Throws what the start function throws. */
export const startMetered = (exports: WebAssembly.Exports): void => (exports[START_EXPORT] as (() => void) | undefined)?.();

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
    startMetered(this.exports);
  }

  get fuel(): number {
    return readMeter(this.exports, FUEL_EXPORT);
  }
  set fuel(value: number) {
    setMeter(this.exports, FUEL_EXPORT, value);
  }
  get depth(): number {
    return readMeter(this.exports, DEPTH_EXPORT);
  }
  set depth(value: number) {
    setMeter(this.exports, DEPTH_EXPORT, value);
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
