import assert from "node:assert/strict";
import { HeaderBlock } from "../../src/core/head.ts";
import { ISOLATION_LIMITS, PROXY_WASM_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { Isolation } from "../../src/filters/guest/isolation.ts";
import { InstancePool } from "../../src/filters/guest/pool.ts";
import { ModuleAssembler } from "../kit/assembler.ts";
import { ComponentBench } from "../kit/component.ts";
import { answering, ExtismBench } from "../kit/extism.ts";
import { FilterBench, filterConfig, settle, type TestExchange } from "../kit/filters.ts";
import type { Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/** Isolated filters: one new instance a turn of the loop, who waits for one, how much memory they may take, and what keeping costs. In virtual time. */

interface Bench {
  exchange(modules: readonly FilterModule[]): TestExchange;
  readonly clock: { advance(ms: number): void };
}

const HOSTS: readonly (readonly [name: string, load: () => Promise<[Bench, FilterModule]>])[] = [
  [
    "proxy-wasm",
    async () => {
      const bench = new FilterBench();
      return [bench, await bench.load(filterConfig({ isolated: true }))];
    },
  ],
  [
    "component",
    async () => {
      const bench = new ComponentBench();
      return [bench, await bench.actor({ "request-head": "continue" }, { isolated: true })];
    },
  ],
  [
    "extism",
    async () => {
      const bench = new ExtismBench();
      return [bench, await bench.load(answering("{}"), { isolated: true })];
    },
  ],
];

for (const [name, load] of HOSTS) {
  describe(`isolated, ${name}: exchanges wait for an instance`, () => {
    test("one is made a turn; those that wait are served in order, with the body that came meanwhile", async () => {
      const [bench, module] = await load();
      const exchanges = Array.from({ length: 5 }, () => bench.exchange([module]));
      const results = exchanges.map(({ chain }) => chain.requestHead(false));
      // One was there, one was made.
      assert.deepEqual(results, ["forward", "forward", "held", "held", "held"]);
      assert.equal(module.status().instances, 2);
      assert.equal(exchanges[2]?.chain.requestData(new Uint8Array([0x61]), true), "held");
      bench.clock.advance(0);
      for (const { events } of exchanges.slice(2))
        assert.equal(events.filter((event) => event.startsWith("request head")).length, 1);
      assert.deepEqual(exchanges[2]?.events, ['request head "a" end']);
      assert.equal(module.status().instances, 5);
      assert.equal(exchanges[4]?.respond(200, [], true), "forward");
      for (const { chain } of exchanges) chain.close();
      assert.deepEqual([module.status().contexts, module.status().instances], [0, 5]);
    });

    test("who waits is told when the filter is switched off, and served when it is disposed of", async () => {
      for (const action of ["disable", "dispose"] as const) {
        const [bench, module] = await load();
        const exchanges = Array.from({ length: 3 }, () => bench.exchange([module]));
        for (const { chain } of exchanges) chain.requestHead(true);
        if (action === "disable") module.control("disable");
        else module.dispose();
        bench.clock.advance(0);
        const last = exchanges[2];
        if (action === "disable") assert.equal(last?.failure?.code, "filter_disabled");
        else assert.deepEqual(last?.events, ['request head "" end']);
        for (const { chain } of exchanges) chain.close();
        assert.deepEqual([module.status().contexts, module.status().instances], [0, 0]);
      }
    });
  });
}

const proxyWasm = (HOSTS[0] as (typeof HOSTS)[number])[1];

describe("isolated: bounds", () => {
  test("a start that takes long leaves the loop to everything else for as long before the next", async () => {
    const bench = new FilterBench();
    let startMs = 0;
    bench.puppet.on("configure", function* () {
      yield* [];
      bench.clock.advance(startMs);
      return 1;
    });
    const module = await bench.load(filterConfig({ isolated: true }));
    startMs = 40;
    const exchanges = Array.from({ length: 3 }, () => bench.exchange([module]));
    for (const { chain } of exchanges) chain.requestHead(true);
    const [, , waiting] = exchanges;
    assert.equal(module.status().instances, 2);
    startMs = 0;
    bench.clock.advance(39);
    assert.deepEqual(waiting?.events, []);
    bench.clock.advance(1);
    assert.deepEqual(waiting?.events, ['request head "" end']);
    for (const { chain } of exchanges) chain.close();
  });

  test("all in use: the longest first gets the next; who went away is forgotten; a pause has its deadline", async () => {
    const [bench, module] = await proxyWasm();
    const open = (): TestExchange => {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      bench.clock.advance(0);
      return exchange;
    };
    const most = PROXY_WASM_LIMITS.isolatedInstances;
    const using = Array.from({ length: most }, open);
    const [gone, first, second] = [open(), open(), open()];
    assert.deepEqual([module.status().instances, module.status().contexts], [most, most + 3]);
    gone.chain.close();
    using[0]?.chain.close();
    bench.clock.advance(0);
    assert.deepEqual([first.events, second.events], [['request head "" end'], []]);
    bench.clock.advance(module.config.budget.pauseMs + 100);
    assert.equal(second.failure?.code, "filter_timeout");
    assert.match(String(second.failure), /no instance was free, of 64/);
    assert.equal(module.status().contexts, most);
    first.chain.close();
    for (const { chain } of using) chain.close();
    assert.equal(module.status().contexts, 0);
  });

  test("so many wait, one more gets onFailure", async () => {
    const [bench, module] = await proxyWasm();
    const results = Array.from({ length: ISOLATION_LIMITS.waiting + 3 }, () => bench.exchange([module]).chain.requestHead(true));
    assert.deepEqual(
      [results.filter((result) => result === "held").length, results.at(-2), results.at(-1)],
      [ISOLATION_LIMITS.waiting, "held", "failed"],
    );
    assert.equal(module.stats.faults.get("budget"), 1);
  });

  test("an answer that comes before an instance did passes no filter that has not seen it", async () => {
    const [bench, module] = await proxyWasm();
    const [, , waiting] = Array.from({ length: 3 }, () => {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      return exchange;
    });
    assert.equal(waiting?.respond(200, [], true), "failed");
    assert.match(String(waiting?.chain.failure), /no instance was free before/);
  });

  /** Fills so many MiB of its memory when it starts. */
  const filling = (mib: number): Uint8Array<ArrayBuffer> => {
    const module = new ModuleAssembler();
    module.memory(mib * 16, undefined, "memory");
    module.func({ name: "proxy_abi_version_0_2_1", body: "" });
    module.func({ name: "malloc", params: ["i32"], results: ["i32"], body: "i32.const 1024" });
    const fill = `i32.const 0 i32.const 1 i32.const ${mib * 1024 * 1024} memory.fill 0 i32.const 1`;
    module.func({ name: "proxy_on_configure", params: ["i32", "i32"], results: ["i32"], body: fill });
    return module.build();
  };

  /** An isolated filter's pool of instances that take so much; each has an exchange. */
  const poolOf = (instanceBytes: number) => {
    const { clock, log, metrics } = new FilterBench();
    const make = () => ({
      ...{ contexts: new Set([1]), fault: undefined, bornMs: 0, memoryBytes: instanceBytes },
      ...{ breakOff() {}, settle() {}, retire() {}, restore: () => undefined },
    });
    const options = { clock, log, metrics, stats: metrics.stats };
    return {
      clock,
      pool: new InstancePool<number, ReturnType<typeof make>>(filterConfig({ isolated: true }), options, make, () => {}),
    };
  };

  test("memories of one filter with what is kept of them: where one more would not fit exchanges wait", () => {
    const { clock, pool } = poolOf(ISOLATION_LIMITS.bytes / 4);
    pool.start();
    for (let i = 1; i < 4; i++) {
      assert.notEqual(typeof pool.lease(), "string");
      assert.equal(pool.isFull, true, "one a turn");
      clock.advance(0);
      assert.equal(pool.isFull, i === 3);
    }
    assert.equal(typeof pool.lease(), "string");
    assert.match(
      pool.fullReason,
      /its 4 take 512 MiB .* more than 512 MiB; let its start use less memory, or do without isolated/,
    );
    poolOf(ISOLATION_LIMITS.bytes).pool.start();
    assert.throws(() => poolOf(ISOLATION_LIMITS.bytes + 1).pool.start(), /takes 513 MiB .* more than 512 MiB: let its start/);
  });

  test("what is kept counts as its memory", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ isolated: true }), filling(1));
    assert.equal(module.status().memoryBytes, 2 * 1024 * 1024);
  });

  test("keeping and putting back is paid from the filter's share", async () => {
    const bench = new FilterBench();
    const [mib, perSecond] = [16, 30_000_000];
    const module = await bench.load(filterConfig({ isolated: true, budget: { fuelPerSecond: perSecond } }), filling(mib));
    const results = Array.from({ length: 4 }, () => {
      const { chain } = bench.exchange([module]);
      const result = chain.requestHead(true);
      chain.close();
      return result;
    });
    assert.deepEqual(results, ["forward", "forward", "failed", "failed"]);
    bench.clock.advance(1_000);
    assert.equal(bench.exchange([module]).chain.requestHead(true), "forward");
  });
});

describe("isolated: what ticks leave is kept when the next exchange needs it", () => {
  const kept = async (action: () => Promise<void> | void): Promise<number> => {
    let count = 0;
    const { keep } = Isolation.prototype;
    Isolation.prototype.keep = function (this: Isolation): void {
      count++;
      keep.call(this);
    };
    try {
      await action();
    } finally {
      Isolation.prototype.keep = keep;
    }
    return count;
  };
  const AT = 15_000;
  const found: number[] = [];
  const look: Script = function* (guest) {
    yield* [];
    found.push(guest.memory.readUInt32LE(AT));
    guest.memory.writeUInt32LE(1_000, AT);
    return 0;
  };
  const counting: Script = function* (guest) {
    yield* [];
    guest.memory.writeUInt32LE(guest.memory.readUInt32LE(AT) + 1, AT);
    return 0;
  };

  test("once for many ticks, never without an exchange, and before what is not to stay", async () => {
    const bench = new FilterBench();
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 10);
        yield guest.host("proxy_register_shared_queue", guest.put("q"), 1, 900);
        return 1;
      })
      .on("tick", counting)
      .on("request_headers", look)
      .on("queue_ready", look);
    const module = await bench.load(filterConfig({ isolated: true, capabilities: { sharedData: "team" } }));
    assert.equal(await kept(() => bench.clock.advance(100)), 0);
    const exchange = (): void => {
      const { chain } = bench.exchange([module], { headers: new HeaderBlock() });
      chain.requestHead(true);
      chain.close();
    };
    assert.equal(await kept(() => [exchange(), exchange()].forEach(() => {})), 1);
    assert.deepEqual(found.splice(0), [10, 10]);
    bench.clock.advance(20);
    bench.shared.acquire("shared:team").enqueue(1, new Uint8Array(1), module.config.budget);
    assert.equal(await kept(() => bench.clock.advance(0)), 1);
    await settle();
    assert.deepEqual(found.splice(0), [12], "a word about an item saw what ticks left");
    exchange();
    assert.deepEqual(found.splice(0), [12]);
  });
});
