// The meter: what runs pays, what has paid too much stops, and nobody catches that.
import assert from "node:assert/strict";
import { classifyTrap, DEPTH_EXPORT, FUEL_EXPORT, type MeterOptions, meterModule } from "../../src/filters/meter/index.ts";
import { type FunctionSource, ModuleAssembler, type Type } from "../kit/assembler.ts";
import { describe, test } from "../kit/suite.ts";

const OPTIONS: MeterOptions = { fuel: 1_000_000, memoryBytes: 4 * 65_536, tableElements: 1_000 };

interface Guest {
  readonly exports: WebAssembly.Exports;
  call(name: string, ...args: number[]): unknown;
  fuel: number;
  depth: number;
}

function instantiate(wasm: Uint8Array<ArrayBuffer>, options: Partial<MeterOptions> = {}, imports?: WebAssembly.Imports): Guest {
  assert.ok(WebAssembly.validate(wasm), "the original must be valid");
  const metered = meterModule(wasm, { ...OPTIONS, ...options });
  assert.ok(WebAssembly.validate(metered.bytes), "the rewritten module must be valid");
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(metered.bytes), imports);
  const fuel = exports[FUEL_EXPORT] as WebAssembly.Global;
  const depth = exports[DEPTH_EXPORT] as WebAssembly.Global;
  return {
    exports,
    call: (name, ...args) => (exports[name] as (...values: number[]) => unknown)(...args),
    get fuel() {
      return fuel.value as number;
    },
    set fuel(value) {
      fuel.value = value;
    },
    get depth() {
      return depth.value as number;
    },
    set depth(value) {
      depth.value = value;
    },
  };
}

/** A module with this one function, exported as `run`. */
function single(
  source: Omit<FunctionSource, "name">,
  prepare: (module: ModuleAssembler) => void = () => {},
): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  prepare(module);
  module.func({ ...source, name: "run" });
  return module.build();
}

const run = (body: string, prepare?: (module: ModuleAssembler) => void, results: readonly Type[] = []): Guest =>
  instantiate(single({ body, results }, prepare));

const trap = (guest: Guest, ...args: number[]): string => {
  assert.throws(() => guest.call("run", ...args), WebAssembly.RuntimeError);
  return classifyTrap(guest.exports);
};

describe("fuel", () => {
  test("an endless loop stops, and stays stopped", () => {
    const guest = run("loop br 0 end");
    assert.equal(trap(guest), "fuel");
    assert.equal(trap(guest), "fuel");
    guest.fuel = 1_000;
    assert.equal(trap(guest), "fuel");
  });
});
