/** Filters switched off, on and released by hand, and their share of CPU in a second. In virtual time. */
import assert from "node:assert/strict";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { PROXY_WASM_LIMITS } from "../../src/core/limits.ts";
import { type Log, type LogFields, SILENT_LOG } from "../../src/core/log.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { NOT_FOUND, OK } from "../../src/filters/proxy-wasm/abi.ts";
import { type FilterLease, FilterRegistry } from "../../src/filters/store.ts";
import { FilterBench, filterConfig, settle } from "../kit/filters.ts";
import { buildPuppet, OUT_A, OUT_B, OUT_C, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

const FINE: Script = function* () {
  yield* [];
  return 0;
};
const TRAP: Script = function* (guest) {
  yield guest.host("trap");
  return 0;
};

/** One whole exchange: what became of its request, and why. */
function ask(bench: FilterBench, module: FilterModule): string {
  const { chain } = bench.exchange([module]);
  const outcome = chain.requestHead(true);
  const said = outcome === "failed" ? `failed: ${chain.failure?.detail || chain.failure?.code}` : outcome;
  chain.close();
  return said;
}

describe("filters by hand", () => {
  test("disabled: what has begun ends in peace, nothing new runs, memory is freed; enabled it runs as before", async () => {
    for (const isolated of [false, true]) {
      const bench = new FilterBench();
      bench.puppet.on("request_headers", FINE).on("response_headers", FINE);
      const module = await bench.load(filterConfig({ isolated }));
      const begun = bench.exchange([module]);
      assert.equal(begun.chain.requestHead(true), "forward");
      module.control("release");
      module.control("enable");
      assert.deepEqual([module.status().state, module.status().disabledBy], ["running", undefined]);
      module.control("disable");
      module.control("disable");
      const { calls } = module.status();
      assert.equal(ask(bench, module), "failed: filter_disabled");
      assert.deepEqual([module.status().calls, module.status().instances], [calls, 1]);
      assert.equal(begun.respond(200, [], true), "forward");
      begun.chain.close();
      assert.deepEqual([module.status().state, module.status().instances], ["disabled", 0]);
      module.control("release");
      assert.equal(ask(bench, module), "failed: filter_disabled");
      module.control("enable");
      assert.equal(ask(bench, module), "forward");
      assert.deepEqual([module.status().state, module.status().instances], ["running", 1]);
      module.dispose();
      module.control("disable");
      assert.equal(bench.clock.pending, 0);
    }
  });

  test("switched off and on while isolated instances are in use: there are never more than the bound", async () => {
    const most = PROXY_WASM_LIMITS.isolatedInstances;
    const bench = new FilterBench();
    bench.puppet.on("request_headers", FINE);
    const module = await bench.load(filterConfig({ isolated: true }));
    const begun = Array.from({ length: most }, () => bench.exchange([module]));
    for (const { chain } of begun) {
      assert.equal(chain.requestHead(true), "forward");
      bench.clock.advance(0);
    }
    for (let i = 0; i < 3; i++) {
      module.control("disable");
      module.control("enable");
      assert.equal(module.status().instances, most);
      assert.equal(ask(bench, module), "held");
    }
    for (const { chain } of begun) chain.close();
    assert.equal(module.status().instances, 0, "those of before go with their exchanges");
    assert.equal(ask(bench, module), "forward");
    assert.equal(module.status().instances, 1);
    module.dispose();
  });

  test("onFailure: open passes what a disabled filter would have seen", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ onFailure: "open" }));
    module.control("disable");
    assert.equal(ask(bench, module), "forward");
  });

  test("one that is off in its configuration starts nothing, not even what would fail to start", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", TRAP);
    await assert.rejects(bench.load(filterConfig()));
    const module = await bench.load(filterConfig({ disabled: true }));
    assert.deepEqual([module.status().instances, module.status().calls, ask(bench, module)], [0, 0, "failed: filter_disabled"]);
    bench.puppet.on("configure", function* () {
      yield* [];
      return 1;
    });
    module.control("enable");
    assert.equal(ask(bench, module), "forward");
    module.dispose();
  });

  test("released from quarantine its faults are forgotten; disabling ends quarantine as well", async () => {
    const bench = new FilterBench();
    const quarantine = async (module: FilterModule): Promise<void> => {
      bench.puppet.on("request_headers", TRAP);
      for (let i = 0; i < 50 && module.status().state !== "quarantined"; i++) {
        ask(bench, module);
        bench.clock.advance(300);
        await settle();
      }
      assert.equal(module.status().state, "quarantined");
      bench.puppet.on("request_headers", FINE);
    };
    const module = await bench.load(filterConfig({ budget: { faults: 3 } }));
    await quarantine(module);
    assert.match(ask(bench, module), /^failed: quarantined/);
    module.control("enable");
    assert.equal(module.status().state, "quarantined");
    module.control("release");
    assert.equal(ask(bench, module), "forward");
    assert.deepEqual([module.status().state, module.status().lastError], ["running", undefined]);
    // Three more, and not the first: the earlier ones do not count.
    await quarantine(module);
    assert.equal(module.status().traps, 6);
    module.control("disable");
    assert.deepEqual([module.status().state, module.status().quarantined], ["disabled", false]);
    module.control("enable");
    assert.equal(ask(bench, module), "forward");
    module.dispose();
    assert.deepEqual(
      bench.metrics.quarantined,
      ["true", "false", "true", "false"].map((each) => `default/puppet ${each}`),
    );
    assert.equal(bench.clock.pending, 0);
  });

  test("a fault of an instance that outlived its filter's release does not replace the new one", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", FINE);
    const module = await bench.load(filterConfig());
    const old = bench.exchange([module]);
    old.chain.requestHead(true);
    module.control("disable");
    module.control("enable");
    assert.equal(module.status().instances, 2);
    bench.puppet.on("response_headers", TRAP);
    assert.equal(old.respond(200, [], true), "failed");
    old.chain.close();
    bench.clock.advance(60_000);
    await settle();
    assert.equal(module.status().instances, 1);
    bench.puppet.on("response_headers", FINE);
    assert.equal(ask(bench, module), "forward");
    module.dispose();
  });

  test("a registry tells all modules of that name, also those that come later", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", FINE);
    const registry = new FilterRegistry(bench.host);
    const wasm = (): Promise<Uint8Array> => Promise.resolve(buildPuppet());
    const first = await registry.acquire(filterConfig(), wasm);
    const other = await registry.acquire(filterConfig({ name: "default/other" }), wasm);
    registry.control("default/puppet", "disable");
    const loading = registry.acquire(filterConfig({ settings: "[]" }), wasm);
    await settle();
    const next = await loading;
    assert.deepEqual(
      [first, next, other].map((each) => ask(bench, each.module)),
      ["failed: filter_disabled", "failed: filter_disabled", "forward"],
    );
    registry.control("default/puppet", "enable");
    await settle();
    const last = await registry.acquire(filterConfig({ release: "again" }), wasm);
    assert.notEqual(last.module, first.module);
    assert.deepEqual(
      [first, next, last].map((each) => ask(bench, each.module)),
      ["forward", "forward", "forward"],
    );
    for (const lease of [first, next, last, other]) lease.release();
  });
});

describe("who switched a filter off and on", () => {
  test("is told once for a process, at the swap or at the word, however many generations have the filter", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", FINE);
    const lines: string[] = [];
    const say = (message: string, fields?: LogFields): void => void lines.push(`${message}: ${fields?.reason}`);
    const log: Log = { ...SILENT_LOG, info: say, warn: say };
    const registry = new FilterRegistry(bench.host, { log, metrics: bench.metrics });
    const leases: FilterLease[] = [];
    const serve = async (revision: number, part: Partial<FilterConfig>): Promise<FilterModule> => {
      const lease = await registry.acquire(filterConfig(part), () => Promise.resolve(buildPuppet()));
      leases.push(lease);
      registry.serve([lease.module], revision);
      return lease.module;
    };
    const news = (): string[] => bench.metrics.disabled.splice(0).map((each) => each.replace("default/puppet ", ""));
    await serve(1, {});
    await serve(2, { settings: "[2]" });
    registry.control("default/puppet", "enable");
    assert.deepEqual(news(), []);
    registry.control("default/puppet", "disable");
    registry.control("default/puppet", "disable");
    assert.deepEqual(news(), ["true by hand"]);
    // Off by hand it stays, whatever serves.
    assert.equal((await serve(3, { settings: "[3]" })).status().disabledBy, "hand");
    assert.deepEqual(news(), []);
    registry.control("default/puppet", "enable");
    assert.deepEqual(news(), ["false by hand"]);
    for (const [disabled, revision] of [
      [true, 4],
      [false, 5],
      [true, 6],
      [false, 7],
    ] as const) {
      const module = await serve(revision, disabled ? { disabled } : {});
      assert.equal(module.status().disabledBy, disabled ? "configuration" : undefined);
      assert.deepEqual(news(), [`${disabled} by configuration, revision ${revision}`]);
    }
    await serve(8, { disabled: true });
    registry.serve([], 9);
    // Gone: nothing was switched.
    assert.deepEqual(news(), ["true by configuration, revision 8", "false undefined"]);
    for (const lease of leases) lease.release();
    assert.deepEqual([news(), lines.length], [[], 7]);
    assert.deepEqual(lines.slice(0, 3), [
      "a filter was disabled: by hand",
      "a filter was enabled: by hand",
      "a filter was disabled: by configuration, revision 4",
    ]);
  });
});

describe("another version of a filter", () => {
  test("finds what the former one kept in shared data, and nothing once nobody held it", async () => {
    const bench = new FilterBench();
    const statuses: number[] = [];
    const get: Script = function* (guest) {
      statuses.push(yield guest.host("proxy_get_shared_data", guest.put("key"), 3, OUT_A, OUT_B, OUT_C));
      return 0;
    };
    bench.puppet.on("request_headers", function* (guest) {
      const key = guest.put("key");
      statuses.push(yield guest.host("proxy_set_shared_data", key, 3, guest.put("kept"), 4, 0));
      return 0;
    });
    const registry = new FilterRegistry(bench.host);
    const wasm = (): Promise<Uint8Array> => Promise.resolve(buildPuppet());
    const first = await registry.acquire(filterConfig(), wasm);
    ask(bench, first.module);
    bench.puppet.on("request_headers", get);
    const second = await registry.acquire(filterConfig({ settings: "[2]" }), wasm);
    first.release();
    ask(bench, second.module);
    second.release();
    const third = await registry.acquire(filterConfig({ settings: "[3]" }), wasm);
    ask(bench, third.module);
    third.release();
    assert.deepEqual([statuses, bench.puppet.errors], [[OK, OK, NOT_FOUND], []]);
  });
});

describe("a filter's share of CPU", () => {
  test("up to its edge it runs, beyond it onFailure applies until the second is over, counted", async () => {
    const probe = new FilterBench();
    probe.puppet.on("request_headers", FINE);
    const free = await probe.load(filterConfig());
    const atStart = free.status().fuel ?? 0;
    ask(probe, free);
    const each = (free.status().fuel ?? 0) - atStart;
    assert.ok(each > 0);

    for (const [fuelPerSecond, served] of [
      [3 * each, 3],
      [3 * each + 1, 4],
    ] as const) {
      const bench = new FilterBench();
      bench.puppet.on("request_headers", FINE);
      const module = await bench.load(filterConfig({ budget: { fuelPerSecond } }));
      for (let second = 0; second < 3; second++) {
        for (let i = 0; i < served; i++) {
          assert.equal(ask(bench, module), "forward");
          // Looking writes down what was used: so the edge is exact.
          module.status();
        }
        const { calls } = module.status();
        for (let i = 0; i < 2; i++)
          assert.equal(ask(bench, module), `failed: it used up its fuel of ${fuelPerSecond} in one second`);
        bench.clock.advance(999);
        assert.match(ask(bench, module), /in one second/);
        assert.deepEqual([module.status().calls, module.status().throttled], [calls, (second + 1) * 3]);
        bench.clock.advance(1);
      }
      assert.equal(bench.metrics.throttled, 9);
      assert.equal(ask(bench, module), "forward");
      // While nothing happens nobody counts seconds.
      bench.clock.advance(5_000);
      assert.equal(bench.clock.pending, 0);
      module.dispose();
    }
  });

  test("an exchange that has begun stops at the next callback, and the instance lives on", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", FINE).on("response_headers", FINE);
    const module = await bench.load(filterConfig({ budget: { fuelPerSecond: 1 } }));
    const begun = bench.exchange([module]);
    const { chain } = begun;
    assert.equal(chain.requestHead(true), "forward");
    module.status();
    assert.equal(begun.respond(200, [], true), "failed");
    assert.match(chain.failure?.detail ?? "", /in one second/);
    chain.close();
    assert.deepEqual([module.status().traps, module.status().instances, module.status().throttled], [0, 1, 1]);
    bench.clock.advance(1_000);
    assert.equal(ask(bench, module), "forward");
    module.dispose();
    assert.equal(bench.clock.pending, 0);
  });

  test("ticks pay from it as well", async () => {
    const bench = new FilterBench();
    let ticks = 0;
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 100);
        return 1;
      })
      .on("tick", function* () {
        yield* [];
        ticks++;
        return 0;
      });
    const module = await bench.load(filterConfig({ budget: { fuelPerSecond: 1 } }));
    bench.clock.advance(100);
    module.status();
    bench.clock.advance(800);
    assert.equal(ticks, 1);
    bench.clock.advance(1_100);
    module.status();
    assert.ok(ticks >= 2, `${ticks} ticks`);
    module.dispose();
  });
});
