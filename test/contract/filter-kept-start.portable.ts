/** A filter whose start was costly gets the state of that start back after a trap: it is not run again, and nothing tells the difference. */
import assert from "node:assert/strict";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { KEPT_START_LIMITS, METER_LIMITS, PROXY_WASM_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { ModuleAssembler, type Type } from "../kit/assembler.ts";
import { FilterBench, filterConfig, settle } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

const IMPORTS: Readonly<Record<string, readonly Type[]>> = {
  proxy_set_tick_period_milliseconds: ["i32"],
  proxy_set_shared_data: ["i32", "i32", "i32", "i32", "i32"],
  proxy_register_shared_queue: ["i32", "i32", "i32"],
  proxy_define_metric: ["i32", "i32", "i32", "i32"],
  proxy_increment_metric: ["i32", "i64"],
};

/** Addresses of the guest. */
const [MUTATED, TICKS, METRIC, CLEARED, GROWN] = [100, 104, 108, 200, 2 * 65_536 + 8];
/** A little more than what is kept takes; a round takes 6. */
const ROUNDS = Math.ceil(KEPT_START_LIMITS.startFuel / 5);

interface Variant {
  /** Runs in `proxy_on_configure`, after the rest of it. */
  readonly start?: string;
  readonly rounds?: number;
  /** Further mutable globals: type, first value. */
  readonly globals?: readonly (readonly [Type, string])[];
}

/**
 * Its start takes long, grows its memory and changes all that there is. In a request it looks whether all of that is there (else it
 * traps as `unreachable`), and then changes all of it; in the next one it divides by zero.
 */
function costlyFilter({ start = "", rounds = ROUNDS, globals = [] }: Variant = {}): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler();
  const calls = new Map<string, number>();
  for (const [name, params] of Object.entries(IMPORTS)) calls.set(name, module.importFunction("env", name, params, ["i32"]));
  const link = (body: string): string => body.replace(/\$(\w+)/g, (_, name: string) => `call ${calls.get(name)}`);
  module.memory(1, 64, "memory").table(2, 8);
  module.data([7, 7, 7, 7], CLEARED).data([1]);
  module.global("i32", `i32.const ${rounds}`);
  module.global("i64", "i64.const 1");
  module.global("f64", "f64.const 1");
  module.global("externref", "ref.null externref");
  for (const [type, first] of globals) module.global(type, first);
  module.func({ name: "proxy_abi_version_0_2_1", body: "" });
  module.func({ name: "malloc", params: ["i32"], results: ["i32"], body: "i32.const 1024" });
  module.func({
    name: "proxy_on_configure",
    params: ["i32", "i32"],
    results: ["i32"],
    body: link(`loop global.get 0 i32.const 1 i32.sub global.set 0 global.get 0 br_if 0 end
      i32.const 2 memory.grow 0 drop i32.const ${GROWN} i32.const 77 i32.store i32.const ${CLEARED} i32.const 0 i32.store
      i32.const -5 global.set 0 i64.const -6 global.set 1 f64.const -0.5 global.set 2
      i32.const 0 i32.const 300 i32.const 1 i32.const ${METRIC} $proxy_define_metric drop
      ${start} i32.const 1`),
  });
  const isNot = (value: string): string => `${value} i32.eqz if unreachable end`;
  module.func({
    name: "proxy_on_request_headers",
    params: ["i32", "i32", "i32"],
    results: ["i32"],
    body: link(`i32.const ${MUTATED} i32.load if i32.const 1 i32.const 0 i32.div_u drop end
      ${isNot(`i32.const ${GROWN} i32.load i32.const 77 i32.eq`)} ${isNot(`i32.const ${CLEARED} i32.load i32.eqz`)}
      ${isNot("global.get 0 i32.const -5 i32.eq")} ${isNot("global.get 1 i64.const -6 i64.eq")}
      ${isNot("global.get 2 f64.const -0.5 f64.eq")} ${isNot("global.get 3 ref.is_null")} ${isNot("memory.size 0 i32.const 3 i32.eq")}
      i32.const ${METRIC} i32.load i64.const 1 $proxy_increment_metric if unreachable end
      i32.const ${MUTATED} i32.const 1 i32.store i32.const 3 memory.grow 0 drop
      i32.const ${GROWN} i32.const 1 i32.store i32.const ${CLEARED} i32.const 1 i32.store i32.const ${5 * 65_536} i32.const 1 i32.store
      i32.const 0 global.set 0 i64.const 0 global.set 1 f64.const 0 global.set 2
      i32.const 0 ref.null funcref table.set 0 i32.const 0`),
  });
  module.func({
    name: "proxy_on_tick",
    params: ["i32"],
    body: `i32.const ${TICKS} i32.const ${TICKS} i32.load i32.const 1 i32.add i32.store`,
  });
  return module.build();
}

const configOf = (change: Partial<FilterConfig> = {}, faults = 0): FilterConfig =>
  filterConfig({ ...change, budget: { startFuel: 2_000_000_000, faults } });

/** What a request comes to: why it failed, or "". */
function ask(bench: FilterBench, module: FilterModule): string {
  const { chain } = bench.exchange([module]);
  chain.requestHead(true);
  const reason = chain.failure?.detail ?? "";
  chain.close();
  return reason;
}

const DIVIDED = "trap: a division by zero";
const fuelOf = (module: FilterModule): number => module.status().fuel ?? 0;

/** Fuel of a trap and of what brings the filter back; then a good request was answered. */
async function recover(bench: FilterBench, module: FilterModule): Promise<number> {
  const before = fuelOf(module);
  assert.equal(ask(bench, module), DIVIDED);
  bench.clock.advance(PROXY_WASM_LIMITS.restartMaxMs);
  await settle();
  assert.equal(ask(bench, module), "");
  return fuelOf(module) - before;
}

describe("proxy-wasm: starts that are kept", () => {
  test("after a trap its state is that after the start, which is not run again, also where its memory grew", async () => {
    const bench = new FilterBench();
    const module = await bench.load(configOf(), costlyFilter());
    assert.ok(fuelOf(module) > KEPT_START_LIMITS.startFuel);
    // Three pages, and the page and a half of them that are not zero.
    const bytes = module.status().memoryBytes;
    assert.ok(bytes > 3 * 65_536 && bytes < 4 * 65_536, `${bytes}`);
    assert.equal(ask(bench, module), "");
    for (let i = 0; i < 3; i++) assert.ok((await recover(bench, module)) < 10_000_000);
    assert.equal(module.status().traps, 3);
    assert.equal([...bench.metrics.values.values()].at(-1), 4);
  });

  test("back-off and quarantine are as for any other; what releases it brings it back as well", async () => {
    const bench = new FilterBench();
    const module = await bench.load(configOf({}, 3), costlyFilter());
    const before = fuelOf(module);
    const fail = (): void => {
      assert.deepEqual([ask(bench, module), ask(bench, module)], ["", DIVIDED]);
    };
    fail();
    // The first one comes at once, the second after a while.
    fail();
    assert.match(ask(bench, module), /^no instance/);
    bench.clock.advance(PROXY_WASM_LIMITS.restartMinMs);
    fail();
    assert.match(ask(bench, module), /^quarantined/);
    module.control("release");
    assert.equal(ask(bench, module), "");
    assert.ok(fuelOf(module) - before < 20_000_000);
  });

  test("ticks go on", async () => {
    const bench = new FilterBench();
    const start = "i32.const 1000 $proxy_set_tick_period_milliseconds drop";
    const module = await bench.load(configOf(), costlyFilter({ start }));
    module.holdTicks?.(false);
    const callsIn = (ms: number): number => {
      const before = module.status().calls ?? 0;
      bench.clock.advance(ms);
      return (module.status().calls ?? 0) - before;
    };
    assert.equal(callsIn(3_000), 3);
    assert.equal(ask(bench, module), "");
    assert.ok((await recover(bench, module)) < 10_000_000);
    assert.equal(callsIn(3_000), 3);
    module.dispose();
    assert.equal(callsIn(3_000), 0);
  });

  test("isolated instances begin with it, and each exchange finds it", async () => {
    const bench = new FilterBench();
    const module = await bench.load(configOf({ isolated: true }), costlyFilter());
    const before = fuelOf(module);
    // Its memory grew and its table was written: each exchange gets a new instance.
    for (let i = 0; i < 3; i++) assert.equal(ask(bench, module), "");
    assert.ok(fuelOf(module) - before < 10_000_000);
  });

  test("where the state alone does not tell what a start did, or cannot be carried over, it is run again", async () => {
    const many = Array.from({ length: METER_LIMITS.keptGlobals }, () => ["i32", "i32.const 0"] as const);
    const variants: Readonly<Record<string, Variant>> = {
      "a table": { start: "i32.const 0 ref.func 5 table.set 0" },
      "a segment": { start: "data.drop 1" },
      "shared data": {
        start: "i32.const 300 i32.const 1 i32.const 300 i32.const 1 i32.const 0 $proxy_set_shared_data drop",
      },
      "a function": { globals: [["funcref", "ref.func 5"]] },
      "a vector": { globals: [["v128", `v128.const ${"1 ".repeat(16)}`]] },
      "not a number": { globals: [["f64", "f64.const NaN"]] },
      "many globals": { globals: many },
    };
    for (const [name, variant] of Object.entries(variants)) {
      const bench = new FilterBench();
      const module = await bench.load(configOf(), costlyFilter(variant));
      assert.equal(ask(bench, module), "");
      assert.ok((await recover(bench, module)) > KEPT_START_LIMITS.startFuel, name);
    }
    // What is no matter of its state alone, and stands: a queue of the filter's.
    const bench = new FilterBench();
    const start = "i32.const 300 i32.const 1 i32.const 400 $proxy_register_shared_queue drop";
    const module = await bench.load(configOf(), costlyFilter({ start }));
    assert.equal(ask(bench, module), "");
    assert.ok((await recover(bench, module)) < 10_000_000);
  });

  test("a cheap start is run again: that costs less than to keep it", async () => {
    const bench = new FilterBench();
    const rounds = 1_000_000;
    const module = await bench.load(configOf(), costlyFilter({ rounds }));
    assert.equal(ask(bench, module), "");
    assert.ok((await recover(bench, module)) > rounds);
    assert.equal(module.status().memoryBytes, 6 * 65_536);
  });
});
