/** What is counted about filters, and what a timed exchange says of each, the same for every ABI where it can be. */
import assert from "node:assert/strict";
import { ChainPool } from "../../src/filters/chain.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import type { FaultKind } from "../../src/filters/stats.ts";
import { ComponentBench } from "../kit/component.ts";
import { FilterBench, filterConfig, settle, TestExchange } from "../kit/filters.ts";
import { OUT_A, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

const does = (...calls: readonly [string, ...number[]][]): Script =>
  function* (guest) {
    for (const [name, ...args] of calls) yield guest.host(name, ...args);
    return 0;
  };
const PAUSE = 1;

async function broken(script: Script, change: Parameters<typeof filterConfig>[0] = {}): Promise<FilterBench> {
  const bench = new FilterBench();
  const module = await bench.load(filterConfig(change));
  bench.puppet.on("request_headers", script);
  const { chain } = bench.exchange([module]);
  chain.requestHead(false);
  chain.close();
  await settle();
  return bench;
}
const faultsOf = ({ metrics }: FilterBench): [FaultKind, number][] => [...metrics.stats.faults];

describe("what is counted about filters", () => {
  test("faults by kind, each once however many exchanges the instance had", async () => {
    const kinds: readonly [FaultKind, Script, Parameters<typeof filterConfig>[0]?][] = [
      ["fuel", does(["spin"])],
      ["depth", does(["recurse"])],
      ["memory", does(["wild"])],
      ["trap", does(["trap"])],
      ["trap", does(["exit", 3])],
      ["pointer", does(["proxy_log", 2, 0x7fff_0000, 10])],
      ["budget", does(["proxy_get_log_level", OUT_A], ["proxy_get_log_level", OUT_A]), { budget: { hostCallsPerCallback: 2 } }],
      ["budget", does(["proxy_add_header_map_value", 0, 0, 1, 1, 9]), { budget: { outputBytes: 4 } }],
    ];
    for (const [kind, script, change] of kinds) assert.deepEqual(faultsOf(await broken(script, change)), [[kind, 1]]);

    const bench = new FilterBench();
    const module = await bench.load();
    bench.puppet.on("request_headers", does());
    const others = [bench.exchange([module]), bench.exchange([module])];
    for (const { chain } of others) chain.requestHead(false);
    bench.puppet.on("request_headers", does(["trap"]));
    const last = bench.exchange([module]);
    last.chain.requestHead(false);
    await settle();
    for (const { chain } of [...others, last]) chain.close();
    assert.deepEqual(faultsOf(bench), [["trap", 1]]);
    assert.deepEqual(bench.metrics.stats.verdicts, { continue: 0, pause: 0, respond: 0, fail: 3 });
  });

  test("an exchange's fuel, a pause that is too long, a body that is too large, contexts that are too many", async () => {
    const change = { budget: { exchangeFuel: 1_000, pauseMs: 100, bufferBytes: 10, contextsPerInstance: 1 } };
    const run = async (play: (bench: FilterBench, module: FilterModule) => void): Promise<FilterBench> => {
      const bench = new FilterBench();
      play(bench, await bench.load(filterConfig(change)));
      await settle();
      return bench;
    };
    const deadline = await run((bench, module) => {
      bench.puppet.on("request_headers", function* () {
        yield* [];
        return PAUSE;
      });
      bench.exchange([module]).chain.requestHead(true);
      bench.clock.advance(1_000);
    });
    assert.deepEqual(faultsOf(deadline), [["deadline", 1]]);
    const large = await run((bench, module) => {
      bench.puppet.on("request_body", function* () {
        yield* [];
        return PAUSE;
      });
      const { chain } = bench.exchange([module]);
      chain.requestHead(false);
      chain.requestData(new Uint8Array(11), false);
    });
    assert.deepEqual(faultsOf(large), [["budget", 1]]);
    const many = await run((bench, module) => {
      bench.exchange([module]).chain.requestHead(false);
      bench.exchange([module]).chain.requestHead(false);
    });
    assert.deepEqual(faultsOf(many), [["budget", 1]]);
    const exhausted = await run((bench, module) => {
      bench.puppet.on("request_headers", does(["burn", 60]));
      const { chain } = bench.exchange([module]);
      for (let i = 0; i < 20 && chain.failure === undefined; i++) chain.requestData(new Uint8Array(1), false);
      chain.requestHead(false);
      for (let i = 0; i < 20 && chain.failure === undefined; i++) chain.requestData(new Uint8Array(1), false);
    });
    assert.deepEqual(faultsOf(exhausted), [["fuel", 1]]);
  });

  test("histograms of time and fuel: one callback in 61, for 61; the most that one used is exact", async () => {
    const bench = new FilterBench();
    const module = await bench.load();
    bench.puppet.on("request_headers", function* (guest) {
      bench.clock.advance(0.004);
      yield guest.host("burn", 100);
      return 0;
    });
    const run = (): void => {
      const { chain } = bench.exchange([module]);
      chain.requestHead(true);
      chain.close();
    };
    const { callTimes, callFuel } = bench.metrics.stats;
    for (let i = 0; i < 60; i++) run();
    assert.deepEqual([callTimes.count, callFuel.count], [0, 0]);
    run();
    bench.metrics.pull();
    assert.deepEqual([callTimes.count, callFuel.count], [61, 61]);
    assert.ok(Math.abs(callTimes.sum - 61 * 4_000) < 1, `${callTimes.sum} ns`);
    const each = callFuel.sum / 61;
    assert.ok(each > 300 && each < 20_000, `${each} fuel`);
    bench.puppet.on("request_headers", does(["burn", 10_000]));
    run();
    bench.metrics.pull();
    const { callbackFuelMost = 0 } = module.status();
    assert.ok(callbackFuelMost > 30 * each, `${callbackFuelMost} at most`);
    assert.deepEqual(bench.metrics.stats.phases.get("request_headers")?.calls, 62);
  });

  test("what a module has: instances, contexts and memory, of all that have its name; the last one that goes says so", async () => {
    const bench = new FilterBench();
    const modules = [await bench.load(), await bench.load()];
    const exchange = bench.exchange([modules[0] as FilterModule]);
    exchange.chain.requestHead(false);
    const { stats } = bench.metrics;
    bench.metrics.pull();
    assert.deepEqual([stats.users, stats.instances, stats.contexts], [2, 2, 1]);
    assert.ok(stats.memoryBytes >= 2 * 65_536);
    for (const module of modules) module.dispose();
    assert.equal(stats.users, 1, "an exchange still has a context");
    exchange.chain.close();
    assert.equal(stats.users, 0);
    assert.ok(stats.fuel > 0);
  });
});

describe("a timed exchange", () => {
  test("says of each filter how long it took, how long it let wait, and what fuel it used", async () => {
    const bench = new FilterBench();
    const [slow, other] = [await bench.load(filterConfig({ name: "default/slow" })), await bench.load()];
    let entered = 0;
    bench.puppet.on("request_headers", function* (guest) {
      entered++;
      bench.clock.advance(entered === 1 ? 3 : 0.25);
      yield guest.host("burn", 100 * entered);
      return entered === 1 ? PAUSE : 0;
    });
    bench.puppet.on("response_headers", function* () {
      bench.clock.advance(1);
      yield* [];
      return 0;
    });
    const exchange = bench.exchange([slow, other], {}, true);
    assert.equal(exchange.chain.requestHead(true), "held");
    bench.clock.advance(40);
    const [first] = exchange.chain.runs();
    assert.equal(first?.verdict, "pause");
    exchange.chain.close();

    const second = bench.exchange([slow, other], {}, true);
    assert.equal(second.chain.requestHead(true), "forward");
    second.respond(200, [], true);
    second.chain.log();
    const runs = second.chain.runs();
    assert.deepEqual(
      runs.map(({ name, verdict, spentMs, waitedMs }) => [name, verdict, Math.round((spentMs ?? 0) * 100) / 100, waitedMs]),
      [
        ["default/slow", "continue", 1.25, 0],
        ["default/puppet", "continue", 1.25, 0],
      ],
    );
    assert.ok(runs.every(({ fuel }) => (fuel ?? 0) > 500));
    second.chain.close();
  });

  test("the wait ends with the word that lets go, and what a filter used before it broke is not lost", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ onFailure: "open" }));
    let id = 0;
    bench.puppet
      .on("request_headers", function* (guest, context) {
        id = context ?? 0;
        yield guest.host("proxy_set_tick_period_milliseconds", 30);
        bench.clock.advance(2);
        return PAUSE;
      })
      .on("tick", function* (guest) {
        yield guest.host("proxy_set_effective_context", id);
        yield guest.host("proxy_continue_stream", 0);
        return 0;
      })
      .on("response_headers", does(["spin"]));
    const exchange = bench.exchange([module], {}, true);
    const { chain } = exchange;
    assert.equal(chain.requestHead(true), "held");
    bench.clock.advance(28);
    await settle();
    bench.clock.advance(500);
    assert.deepEqual(exchange.events, ['request head "" end']);
    exchange.respond(200, [], true);
    chain.log();
    const [run] = chain.runs();
    assert.deepEqual([run?.verdict, run?.spentMs, run?.waitedMs], ["filter_failed", 2, 28]);
    assert.ok((run?.fuel ?? 0) >= 1_000_000);
    chain.close();
  });

  test("one that nobody asked to be timed is not", async () => {
    const bench = new FilterBench();
    const module = await bench.load();
    bench.puppet.on("request_headers", function* () {
      bench.clock.advance(5);
      yield* [];
      return 0;
    });
    const { chain } = bench.exchange([module]);
    chain.requestHead(true);
    chain.log();
    assert.deepEqual(chain.runs(), [
      { name: "default/puppet", verdict: "continue", spentMs: undefined, waitedMs: 0, fuel: undefined },
    ]);
    chain.close();
  });

  test("a component's last look is paid by its exchange, like each other callback", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "continue", done: "calls 200" });
    const before = module.status().fuel ?? 0;
    const exchange = new TestExchange(new ChainPool(bench.deadlines, bench.clock), [module], {}, true);
    exchange.chain.requestHead(true);
    const withoutIt = (module.status().fuel ?? 0) - before;
    exchange.chain.log();
    const [run] = exchange.chain.runs();
    exchange.chain.close();
    assert.equal(run?.fuel, (module.status().fuel ?? 0) - before);
    assert.ok((run?.fuel ?? 0) > 10 * withoutIt);
  });
});
