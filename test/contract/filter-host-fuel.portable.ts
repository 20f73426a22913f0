import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { DEFAULT_FILTER_BUDGET, type FilterBudget, HOST_WORK, METER_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { FuelGauge } from "../../src/filters/guest/fuel.ts";
import { DEPTH_EXPORT, meterModule } from "../../src/filters/meter/index.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { stackSlots } from "../../src/runtime/process.ts";
import { FilterBench, filterConfig, settle } from "../kit/filters.ts";
import { readMeter, TEST_METER } from "../kit/metered.ts";
import { ALLOCATOR_MODES, type Command, OUT_A, OUT_B, OUT_C, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";
import { ModuleBuilder, op } from "../kit/wasm.ts";

const SPIN: Script = function* (guest) {
  yield guest.host("spin");
  return 0;
};
const FINE: Script = function* () {
  yield* [];
  return 0;
};

/** What the log says of why the filter broke. */
const reasonOf = (bench: FilterBench): string => bench.metrics.traps.at(-1) ?? "";

/** A module around these callbacks. */
function moduleOf(build: (builder: ModuleBuilder) => void): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  build(builder);
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func("malloc", ["i32"], ["i32"], op.i32(1024));
  return builder.build();
}

/** Of the guest's loop, a quarter of what the counter of fuel holds and a little more. */
const ROUNDS = 60_000_000;

const ENDLESS = [...op.loop, ...op.br(0), ...op.end];

/** Breaks the filter once, and waits until it is there again or will not be. */
async function breakOnce(bench: FilterBench, module: FilterModule): Promise<void> {
  const { traps } = module.status();
  const { chain } = bench.exchange([module]);
  chain.requestHead(true);
  chain.close();
  assert.equal(module.status().traps, traps + 1);
  for (let i = 0; i < 200 && module.status().instances === 0 && module.status().quarantined !== true; i++) {
    bench.clock.advance(200);
    await settle();
  }
}

/** Host work by call: what `large` costs more than `small`, which is all the host's. The same number on every runtime. */
const PAID: readonly (readonly [
  name: string,
  fuel: number,
  calls: (guest: PuppetGuest, size: number) => Generator<Command, void, number>,
])[] = [
  [
    "keeping a value",
    12_500,
    function* (guest, size) {
      yield guest.host("proxy_set_shared_data", guest.put("k"), 1, 0, size * 50, 0);
    },
  ],
  [
    "a field of a head",
    1_000,
    function* (guest, size) {
      const name = guest.put("x-name");
      yield guest.host("proxy_replace_header_map_value", 0, name, 6, guest.put("v".repeat(size)), size);
    },
  ],
  [
    "all fields of a head, of which one is longer",
    2_000,
    function* (guest, size) {
      const name = guest.put("x-name");
      yield guest.host("proxy_replace_header_map_value", 0, name, 6, guest.put("v".repeat(size)), size);
      yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
    },
  ],
  [
    "a line of the log",
    1_000,
    function* (guest, size) {
      yield guest.host("proxy_log", 2, 0, size);
    },
  ],
];

describe("what the host's work costs is the same on every runtime", () => {
  for (const [name, fuel, calls] of PAID) {
    test(name, async () => {
      const bench = new FilterBench();
      let size = 0;
      bench.puppet.on("request_headers", function* (guest) {
        yield* calls(guest, size);
        return 0;
      });
      const module = await bench.load();
      const fuelFor = (bytes: number): number => {
        size = bytes;
        const before = module.status().fuel ?? 0;
        const { chain } = bench.exchange([module]);
        assert.equal(chain.requestHead(true), "forward");
        chain.close();
        return (module.status().fuel ?? 0) - before;
      };
      // The first one fills what is remembered; it must cost the same as the next one.
      const [first, again] = [fuelFor(1_000), fuelFor(1_000)];
      assert.equal(first, again);
      assert.equal(first - fuelFor(0), fuel);
    });
  }
});

describe("proxy-wasm: fuel", () => {
  test("setting a whole head costs by the fields that are there, however few are given", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      const none = guest.put("\0\0\0\0");
      assert.equal(yield guest.host("proxy_set_header_map_pairs", 0, none, 4), abi.OK);
      return 0;
    });
    const module = await bench.load();
    const fuelFor = (fields: number): number => {
      const before = module.status().fuel ?? 0;
      const headers = HeaderBlock.from(Array.from({ length: fields }, (_, i): [string, string] => [`x-${i}`, "v"]));
      const { chain } = bench.exchange([module], { headers });
      assert.equal(chain.requestHead(true), "forward");
      chain.close();
      return (module.status().fuel ?? 0) - before;
    };
    assert.equal(fuelFor(90) - fuelFor(10), 80 * HOST_WORK.itemFuel);
  });

  test("a property is not looked up for pointers that lie outside", async () => {
    const bench = new FilterBench();
    const seen: unknown[] = [];
    bench.puppet.on("request_headers", function* (guest) {
      const path = guest.put("no\0such");
      for (const [at, size] of [
        [-4, OUT_A],
        [OUT_A, -4],
        [-1, OUT_A],
        [OUT_A, OUT_B],
      ] as const)
        seen.push(yield guest.host("proxy_get_property", path, 7, at, size));
      return 0;
    });
    const { chain } = bench.exchange([await bench.load()]);
    chain.requestHead(true);
    assert.deepEqual(seen, [...new Array<number>(3).fill(abi.INVALID_MEMORY_ACCESS), abi.NOT_FOUND]);
  });

  test("what ran out is told apart: fuel of a callback, of an exchange, depth, and the guest's own faults", async () => {
    const own: Readonly<Record<string, Script>> = {
      "it used up its fuel of 1000000 in one callback": SPIN,
      "its calls nest too deep": function* (guest) {
        yield guest.host("recurse");
        return 0;
      },
      "trap: a memory access out of bounds": function* (guest) {
        yield guest.host("wild");
        return 0;
      },
      "trap: unreachable code": function* (guest) {
        yield guest.host("trap");
        return 0;
      },
      "it used up its fuel of 1000000 in one callback, in the allocator": function* (guest) {
        guest.allocator(ALLOCATOR_MODES.spin);
        yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
        return 0;
      },
      "the guest exited with code 3": function* (guest) {
        yield guest.host("exit", 3);
        return 0;
      },
    };
    for (const [reason, script] of Object.entries(own)) {
      const bench = new FilterBench();
      const module = await bench.load();
      bench.puppet.on("request_headers", script);
      const { chain } = bench.exchange([module]);
      assert.equal(chain.requestHead(true), "failed");
      assert.equal(chain.failure?.detail, reason);
      assert.equal(reasonOf(bench), reason);
    }
  });

  test("a callback has its budget anew each time; one that stays within it is left alone", async () => {
    const bench = new FilterBench();
    const burn: Script = function* (guest) {
      // Some ten for each round.
      yield guest.host("burn", 60_000);
      return 0;
    };
    for (const name of ["request_headers", "response_headers", "done", "log", "delete"])
      bench.puppet.on(name, function* (guest, ...args) {
        yield* burn(guest, ...args);
        return 0;
      });
    bench.puppet.on("done", function* (guest, ...args) {
      yield* burn(guest, ...args);
      return 1;
    });
    const module = await bench.load();
    for (let i = 0; i < 5; i++) {
      const exchange = bench.exchange([module]);
      assert.equal(exchange.chain.requestHead(true), "forward");
      assert.equal(exchange.respond(200, [], true), "forward");
      exchange.chain.log();
      exchange.chain.close();
    }
    const { traps, fuel = 0 } = module.status();
    assert.equal(traps, 0);
    assert.ok(fuel > 5 * 5 * 60_000 * 5, `${fuel} is what was burnt`);
  });

  test("what is left of an exchange's budget bounds its next callback; other exchanges have their own", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ budget: { exchangeFuel: 2_000_000 } }));
    bench.puppet.on("request_body", function* (guest) {
      yield guest.host("burn", 60_000);
      return 0;
    });
    for (let i = 0; i < 10; i++) {
      const { chain } = bench.exchange([module]);
      assert.equal(chain.requestHead(false), "forward");
      assert.equal(chain.requestData(latin1Bytes("x"), false), "forward");
      chain.close();
    }
    assert.equal(module.status().traps, 0);
    const { chain } = bench.exchange([module]);
    chain.requestHead(false);
    let pieces = 0;
    while (pieces < 100 && chain.requestData(latin1Bytes("x"), false) === "forward") pieces++;
    assert.ok(pieces >= 1 && pieces <= 4, `${pieces} pieces of more than half a million`);
    assert.match(chain.failure?.detail ?? "", /fuel of \d+ in one exchange/);
    assert.equal(module.status().traps, 1);
  });

  test("an exchange that has nothing left is failed without entering the guest; tidying up goes on", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ budget: { exchangeFuel: 100_000 } }));
    bench.puppet.on("context_create", function* (guest) {
      yield guest.host("burn", 60_000);
      return undefined;
    });
    bench.puppet.entered.length = 0;
    const { chain } = bench.exchange([module]);
    assert.equal(chain.requestHead(true), "failed");
    assert.match(chain.failure?.detail ?? "", /fuel of 100000 in one exchange/);
    chain.close();
    assert.deepEqual(bench.puppet.entered, ["context_create", "done", "delete"]);
    assert.equal(module.status().traps, 0);
    assert.equal(module.status().contexts, 0);
  });

  test("how deep calls nest is a budget, as far as the stack goes", async () => {
    const nest = async (budget: Partial<FilterBudget>): Promise<string> => {
      const bench = new FilterBench();
      const recursing = moduleOf((builder) => {
        builder.memory(1);
        // 16, a parameter, and two operands for each of 4,000 calls: 76,000 slots.
        const body = [op.localGet(0), op.if, op.localGet(0), op.i32(-1), op.i32Add, op.call(0), op.end].flat();
        builder.func(undefined, ["i32"], [], body);
        builder.func("proxy_on_request_headers", ["i32", "i32", "i32"], ["i32"], [...op.i32(4_000), ...op.call(0), ...op.i32(0)]);
      });
      const { chain } = bench.exchange([await bench.load(filterConfig({ budget }), recursing)]);
      chain.requestHead(true);
      return chain.failure?.detail ?? "fine";
    };
    assert.equal(await nest({}), "its calls nest too deep");
    assert.equal(await nest({ depthSlots: 80_000 }), "fine");
    assert.equal(await nest({ depthSlots: 76_000 }), "its calls nest too deep");
    // Nothing runs into the end of the stack, whatever is asked for.
    const { exports } = new WebAssembly.Instance(
      new WebAssembly.Module(
        meterModule(
          moduleOf((b) => void b.memory(1)),
          TEST_METER,
        ).bytes,
      ),
    );
    assert.ok(new FuelGauge(exports, { ...DEFAULT_FILTER_BUDGET, depthSlots: 10_000_000 }));
    assert.equal(readMeter(exports, DEPTH_EXPORT), stackSlots());
    assert.ok(stackSlots() >= 100_000);
  });

  test("a start may use more than the counter holds, as long as it calls the host in between", async () => {
    const start = async (startFuel: number, calls: number, rounds: number): Promise<number> => {
      const bench = new FilterBench();
      bench.puppet.on("configure", function* (guest) {
        for (let i = 0; i < calls; i++) yield guest.host("burn", rounds);
        return 1;
      });
      const module = await bench.load(filterConfig({ budget: { startFuel } }));
      return module.status().fuel ?? 0;
    };
    const used = await start(4_000_000_000, 4, ROUNDS);
    assert.ok(used > METER_LIMITS.counter, `${used} is more than 2^31 - 1`);
    assert.equal(await start(used, 4, ROUNDS), used, "exactly that is enough");
    await assert.rejects(start(used - 1_000, 4, ROUNDS), new RegExp(`it used up its fuel of ${used - 1_000} while it started$`));
    const inOne = /it used up its fuel of 2147483647 between two calls of the host while it started$/;
    await assert.rejects(start(4_000_000_000, 1, 4 * ROUNDS), inOne);
  });

  test("endless loops while it starts are refused when it is loaded", async () => {
    const budget = { startFuel: 1_000_000 };
    const starts: Readonly<Record<string, (builder: ModuleBuilder) => void>> = {
      "start function": (b) => void b.memory(1).start(b.func(undefined, [], [], ENDLESS)),
      _initialize: (b) => void b.memory(1).func("_initialize", [], [], ENDLESS),
      _start: (b) => void b.memory(1).func("_start", [], [], ENDLESS),
      context: (b) => void b.memory(1).func("proxy_on_context_create", ["i32", "i32"], [], ENDLESS),
      vm_start: (b) => void b.memory(1).func("proxy_on_vm_start", ["i32", "i32"], ["i32"], [...ENDLESS, ...op.i32(1)]),
      configure: (b) => void b.memory(1).func("proxy_on_configure", ["i32", "i32"], ["i32"], [...ENDLESS, ...op.i32(1)]),
    };
    for (const [name, build] of Object.entries(starts)) {
      const bench = new FilterBench();
      const reason = /it used up its fuel of 1000000 while it started/;
      await assert.rejects(bench.load(filterConfig({ budget }), moduleOf(build)), reason, name);
      assert.equal(bench.shared.size, 0);
    }
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      guest.allocator(ALLOCATOR_MODES.spin);
      yield guest.host("proxy_get_buffer_bytes", 7, 0, 100, OUT_A, OUT_B);
      return 1;
    });
    await assert.rejects(bench.load(filterConfig({ budget })), /while it started, in the allocator/);
  });

  test("starting may take more than a callback, and counts as used", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      yield guest.host("burn", 500_000);
      return 1;
    });
    const module = await bench.load();
    assert.ok((module.status().fuel ?? 0) > 2 * DEFAULT_FILTER_BUDGET.callbackFuel);
    bench.puppet.on("request_headers", SPIN);
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    assert.equal(reasonOf(bench), "it used up its fuel of 1000000 in one callback");
  });

  test("in a tick, a queue and in what tidies up: the instance is renewed, nobody else is harmed", async () => {
    for (const callback of ["tick", "queue_ready", "done", "log", "delete"]) {
      const bench = new FilterBench();
      bench.puppet.on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 10);
        yield guest.host("proxy_register_shared_queue", guest.put("q"), 1, OUT_A);
        return 1;
      });
      const module = await bench.load();
      const other = await bench.load(filterConfig({ name: "default/other" }));
      bench.puppet.on("request_headers", function* (guest) {
        yield guest.host("proxy_enqueue_shared_queue", 1, guest.put("i"), 1);
        return 0;
      });
      const { chain } = bench.exchange([module]);
      bench.puppet.on(callback, SPIN);
      chain.requestHead(true);
      await settle();
      bench.clock.advance(callback === "tick" ? 10 : 0);
      chain.log();
      chain.close();
      assert.ok(module.status().traps >= 1, callback);
      bench.puppet.on(callback, FINE);
      bench.clock.advance(1);
      await settle();
      assert.equal(module.status().instances, 1, callback);
      assert.equal(bench.exchange([module]).chain.requestHead(true), "forward", callback);
      assert.equal(bench.exchange([other]).chain.requestHead(true), "forward", callback);
    }
  });

  test("the answer of a call-out pays for its exchange, which ends when there is nothing left", async () => {
    const bench = new FilterBench();
    const capabilities = { callouts: ["default/auth"], sharedData: undefined, rateLimit: false, clock: false };
    const module = await bench.load(filterConfig({ capabilities, budget: { exchangeFuel: 2_500_000 } }));
    const ask: Script = function* (guest) {
      yield guest.host("proxy_set_effective_context", 2);
      yield guest.host("burn", 60_000);
      const [at, size] = guest.putPairs([
        [":method", "GET"],
        [":path", "/"],
        [":authority", "auth"],
      ]);
      yield guest.host("proxy_http_call", guest.put("auth"), 4, at, size, 0, 0, 0, 0, 1000, OUT_C);
      return 1;
    };
    bench.puppet.on("request_headers", ask).on("http_call_response", ask);
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "held");
    let answered = 0;
    while (exchange.events.length === 0 && answered < 50) {
      const callout = exchange.callouts.at(answered++);
      assert.ok(callout !== undefined, "the filter asks again and again");
      callout.done({ headers: HeaderBlock.from([[":status", "200"]]), body: new Uint8Array(0), trailers: undefined });
      await settle();
    }
    assert.ok(answered < 10, `${answered} answers`);
    assert.deepEqual(exchange.events, ["fail filter_failed"]);
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("abort in a guest that catches everything: it goes on for no step, and its host calls do nothing", async () => {
    const bench = new FilterBench();
    const wasm = moduleOf((b) => {
      const abort = b.import("env", "abort", ["i32", "i32", "i32", "i32"], []);
      const log = b.import("env", "proxy_log", ["i32", "i32", "i32"], ["i32"]);
      b.memory(1);
      const say = b.func(undefined, [], [], [...op.i32(2), ...op.i32(0), ...op.i32(1), ...op.call(log), ...op.drop]);
      const four = [...op.i32(0), ...op.i32(0), ...op.i32(0), ...op.i32(0)];
      // try … catch_all … end: answers 0 (continue) whatever happened.
      const tried = [0x06, 0x40, ...four, ...op.call(abort), 0x19, ...op.end];
      const logs = [...op.i32(2), ...op.i32(0), ...op.i32(1), ...op.call(log), ...op.drop];
      b.func("proxy_on_request_headers", ["i32", "i32", "i32"], ["i32"], [...tried, ...logs, ...op.call(say), ...op.i32(0)]);
    });
    const module = await bench.load(filterConfig(), wasm);
    const before = bench.log.lines.length;
    const { chain } = bench.exchange([module]);
    assert.equal(chain.requestHead(true), "failed");
    assert.match(chain.failure?.detail ?? "", /^abort/);
    assert.deepEqual(
      bench.log.lines.slice(before).filter((line) => line.startsWith("info")),
      [],
    );
  });
});

describe("proxy-wasm: quarantine", () => {
  test("after so many faults it is not run any more; log, metrics and status say so; a new one is its own", async () => {
    for (const onFailure of ["closed", "open"] as const) {
      const bench = new FilterBench();
      bench.puppet.on("request_headers", SPIN);
      const module = await bench.load(filterConfig({ onFailure, budget: { faults: 4 } }));
      for (let i = 1; i <= 4; i++) {
        assert.equal(module.status().quarantined, false);
        await breakOnce(bench, module);
      }
      assert.equal(module.status().quarantined, true);
      assert.deepEqual(bench.metrics.quarantined, ["default/puppet true"]);
      assert.equal(bench.log.lines.filter((line) => line.includes("quarantined")).length, 1);
      const { calls, fuel } = module.status();
      bench.puppet.on("request_headers", FINE);
      bench.clock.advance(3_600_000);
      await settle();
      const { chain } = bench.exchange([module]);
      assert.equal(chain.requestHead(true), onFailure === "closed" ? "failed" : "forward");
      if (onFailure === "closed") assert.match(chain.failure?.detail ?? "", /^quarantined: it used up its fuel/);
      assert.deepEqual([module.status().calls, module.status().fuel, module.status().instances], [calls, fuel, 0]);
      const next = await bench.load(filterConfig({ onFailure, settings: '{"a":1}', budget: { faults: 4 } }));
      assert.equal(bench.exchange([next]).chain.requestHead(true), "forward");
      chain.close();
      module.dispose();
      assert.deepEqual(bench.metrics.quarantined, ["default/puppet true", "default/puppet false"]);
    }
  });

  test("faults that are further apart than the window do not add up, and 0 means never", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", SPIN);
    const apart = await bench.load(filterConfig({ budget: { faults: 3, faultWindowMs: 1_000 } }));
    for (let i = 0; i < 6; i++) {
      await breakOnce(bench, apart);
      bench.clock.advance(1_001);
      await settle();
    }
    assert.equal(apart.status().quarantined, false);
    const never = await bench.load(filterConfig({ budget: { faults: 0 } }));
    for (let i = 0; i < 12; i++) await breakOnce(bench, never);
    assert.equal(never.status().quarantined, false);
  });

  test("an isolated filter is quarantined as well, and its other instances rest", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ isolated: true, budget: { faults: 2 } }));
    const quiet = bench.exchange([module]);
    assert.equal(quiet.chain.requestHead(true), "forward");
    bench.puppet.on("request_headers", SPIN);
    for (let i = 0; i < 2; i++) {
      bench.exchange([module]).chain.requestHead(true);
      bench.clock.advance(60);
    }
    assert.equal(module.status().quarantined, true);
    quiet.chain.close();
    bench.puppet.on("request_headers", FINE);
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
  });
});
