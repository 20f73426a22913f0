import assert from "node:assert/strict";
import type { VirtualClock } from "../../src/core/clock.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { BUG_LIMITS, DEFAULT_CALLOUT_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { ComponentBench } from "../kit/component.ts";
import { buildPlugin, ExtismBench } from "../kit/extism.ts";
import { answer as answerPlugin, load as loadPlugin, PASS_ON, setting } from "../kit/extism-http.ts";
import { FilterBench, filterConfig, type RecordingLog, settle, type TestExchange } from "../kit/filters.ts";
import type { PuppetGuest } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";
import { play } from "../kit/whole-exchange.ts";

// What the proxy's own code throws around a filter: it costs that exchange the filter's `onFailure`, and no more.

/** What the host writes down around each call of a guest, and when its instance is settled or put back. */
const WRITTEN = ["calls", "fuelUsed"] as const;

/** Has the host fail where it writes that down the `nth` time from now on. Answers how often it did. */
function failAt(module: FilterModule, nth: number, bug = "a bug", what: (typeof WRITTEN)[number] = "calls"): () => number {
  let [count, written] = [0, 0];
  Object.defineProperty(module, what, {
    get: () => written,
    set: (value: number) => {
      written = value;
      if (++count === nth) throw new TypeError(bug);
    },
  });
  return () => count;
}

function callService(guest: PuppetGuest) {
  const [at, size] = guest.putPairs([
    [":method", "GET"],
    [":path", "/"],
    [":authority", "auth"],
  ]);
  return guest.host("proxy_http_call", guest.put("auth"), 4, at, size, 0, 0, 0, 0, 1000, 900);
}

interface Bench {
  readonly clock: VirtualClock;
  readonly log: RecordingLog;
  exchange(modules: readonly FilterModule[]): TestExchange;
}

const bugsTold = ({ log }: Bench): number => log.lines.filter((line) => line.includes("a bug of the proxy")).length;

/** One fault of its own kind, told with its stack; the instance is a new one, and serves. */
async function assertRenewed(bench: Bench, module: FilterModule, words: string): Promise<void> {
  assert.deepEqual([...module.stats.faults], [["host", 1]], words);
  assert.equal(bugsTold(bench), 1, words);
  const told = bench.log.fields.find(({ stack }) => stack !== undefined);
  assert.equal(told?.reason, "a bug", words);
  assert.match(String(told?.stack), /filter-host-thrown/, words);
  await settle();
  bench.clock.advance(0);
  await settle();
  assert.deepEqual([module.status().traps, module.status().instances, module.status().contexts], [1, 1, 0], words);
  assert.equal(module.status().lastError, "the host failed: a bug", words);
}

const LINES = {
  "request-head": "set x-a 1",
  "request-body": "continue",
  "request-trailers": "continue",
  "response-head": "continue",
};
const LOADS: Readonly<Record<string, (isolated: boolean) => Promise<readonly [Bench, FilterModule]>>> = {
  "proxy-wasm": async (isolated) => {
    const bench = new FilterBench();
    return [bench, await bench.load(filterConfig({ isolated }))];
  },
  component: async (isolated) => {
    const bench = new ComponentBench();
    return [bench, await bench.actor({ ...LINES, "response-body": "continue", done: "log bye" }, { isolated })];
  },
  extism: async (isolated) => {
    const bench = new ExtismBench();
    const names = ["on_request", "on_request_body", "on_response", "on_response_body"];
    const exports = Object.fromEntries(names.map((name) => [name, "i32.const 0"]));
    return [bench, await bench.load(buildPlugin({ exports }), { isolated })];
  },
};

describe("the host fails around a callback: every ABI", () => {
  for (const [abi, load] of Object.entries(LOADS)) {
    for (const what of WRITTEN) {
      const isolated = what === "fuelUsed";
      test(`${abi}${isolated ? ", isolated" : ""}: at each turn of an exchange (${what})`, async () => {
        const [reference, counted] = await load(isolated);
        const times = failAt(counted, -1, "", what);
        const results = play(reference.exchange([counted]));
        const most = times();
        assert.equal(most >= 4, true, `${most} times`);
        for (let nth = 1; nth <= most; nth++) {
          const [bench, module] = await load(isolated);
          failAt(module, nth, "a bug", what);
          play(bench.exchange([module]));
          await settle();
          // Where one instance serves all, the next comes with the timer; an isolated one when it is asked for.
          if (!isolated) bench.clock.advance(0);
          assert.deepEqual(play(bench.exchange([module])), results, `turn ${nth}`);
          await settle();
          await assertRenewed(bench, module, `${abi}, turn ${nth}`);
        }
      });
    }
  }

  test("the other exchanges of that instance get its onFailure as after a trap", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* () {
      yield* [];
      return 1;
    });
    const module = await bench.load();
    const waiting = bench.exchange([module]);
    assert.equal(waiting.chain.requestHead(true), "held");
    failAt(module, 1);
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    await settle();
    assert.deepEqual(waiting.events, ["fail filter_failed"]);
    assert.match(String(waiting.failure), /the host failed: a bug/);
  });

  test("a context that waits for proxy_done is let go with its instance", async () => {
    const bench = new FilterBench();
    bench.puppet.on("done", function* () {
      yield* [];
      return 0;
    });
    const module = await bench.load();
    play(bench.exchange([module]));
    assert.equal(module.status().contexts, 1);
    failAt(module, 1);
    const { chain } = bench.exchange([module]);
    assert.equal(chain.requestHead(true), "failed");
    await settle();
    chain.close();
    assert.equal(module.status().contexts, 0);
  });

  test("what is told is bounded: each once, with so many characters, and so many in all", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ budget: { faults: 0 } }));
    for (let i = 0; i < BUG_LIMITS.toldPerFilter + 5; i++) {
      for (const _twice of [1, 2]) {
        failAt(module, 1, `bug ${i} ${"x".repeat(10_000)}`);
        bench.exchange([module]).chain.requestHead(true);
        bench.clock.advance(60_000);
      }
    }
    assert.equal(bugsTold(bench), BUG_LIMITS.toldPerFilter);
    const told = bench.log.fields.filter(({ stack }) => stack !== undefined);
    for (const { reason, stack } of told)
      assert.deepEqual([String(reason).length, String(stack).length], [BUG_LIMITS.chars, BUG_LIMITS.chars]);
    assert.equal(module.stats.faults.get("host"), 2 * (BUG_LIMITS.toldPerFilter + 5));
  });
});

describe("the host fails where no exchange is", () => {
  test("proxy-wasm: in a tick, an item of a queue, and the answer to a call of its own", async () => {
    for (const [nth, name] of ["tick", "queue_ready", "http_call_response"].entries()) {
      const bench = new FilterBench();
      bench.puppet
        .on("configure", function* (guest) {
          yield guest.host("proxy_set_tick_period_milliseconds", 50);
          yield guest.host("proxy_register_shared_queue", guest.put("q"), 1, 900);
          return 1;
        })
        .on("tick", function* (guest) {
          yield guest.host("proxy_enqueue_shared_queue", 1, guest.put("item"), 4);
          yield callService(guest);
          return 0;
        });
      const module = await bench.load(filterConfig({ capabilities: { callouts: ["default/auth"] } }));
      failAt(module, nth + 1);
      bench.clock.advance(50);
      await settle();
      bench.rootCallouts[0]?.done(undefined);
      assert.equal(bench.puppet.entered.includes(name), true, name);
      await assertRenewed(bench, module, name);
    }
  });

  test("a call that cannot be made leaves its place among those under way, in every ABI", async () => {
    const limits = { ...DEFAULT_CALLOUT_LIMITS, concurrent: 1 };
    const wasm = new FilterBench();
    wasm.puppet.on("request_headers", function* (guest) {
      return (yield callService(guest)) === 0 ? 1 : 0;
    });
    const component = new ComponentBench();
    const { bench: extism, module: plugin } = await loadPlugin(PASS_ON, {
      capabilities: { calloutLimits: { "default/aside": limits } },
    });
    const cases: readonly (readonly [Bench, FilterModule])[] = [
      [
        wasm,
        await wasm.load(
          filterConfig({ capabilities: { callouts: ["default/auth"], calloutLimits: { "default/auth": limits } } }),
        ),
      ],
      [
        component,
        await component.actor(
          { "request-head": "call default/callee /ask; pause" },
          { capabilities: { callouts: ["default/callee"], calloutLimits: { "default/callee": limits } } },
        ),
      ],
      [extism, plugin],
    ];
    for (const [bench, module] of cases) {
      const { abi } = module.config;
      const refused = bench.exchange([module]);
      refused.callout = () => {
        throw new TypeError("a bug");
      };
      refused.chain.requestHead(true);
      await settle();
      assert.equal(module.stats.faults.get("host"), 1, abi);
      assert.equal(bugsTold(bench), 1, abi);
      refused.chain.close();
      const next = bench.exchange([module]);
      assert.equal(next.chain.requestHead(true), "held", abi);
      await settle();
      assert.equal(next.callouts.length, 1, abi);
      next.chain.close();
    }
  });

  test("proxy-wasm: a call of the plugin's own that cannot be made breaks its instance, and no other", async () => {
    const bench = new FilterBench();
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 50);
        return 1;
      })
      .on("tick", function* (guest) {
        yield callService(guest);
        return 0;
      });
    const limits = { ...DEFAULT_CALLOUT_LIMITS, concurrent: 1 };
    const capabilities = { callouts: ["default/auth"], calloutLimits: { "default/auth": limits } };
    const module = await bench.load(filterConfig({ capabilities }));
    const { push } = bench.rootCallouts;
    bench.rootCallouts.push = () => {
      throw new TypeError("a bug");
    };
    bench.clock.advance(50);
    bench.rootCallouts.push = push;
    await assertRenewed(bench, module, "tick");
    bench.clock.advance(50);
    assert.equal(bench.rootCallouts.length, 1);
  });

  test("proxy-wasm: in the answer to an exchange's call", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      yield callService(guest);
      return 1;
    });
    const module = await bench.load(filterConfig({ capabilities: { callouts: ["default/auth"] } }));
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "held");
    failAt(module, 1);
    exchange.callouts[0]?.done(undefined);
    assert.deepEqual(exchange.events, ["fail filter_failed"]);
    assert.equal(bench.puppet.entered.at(-1), "http_call_response");
    await assertRenewed(bench, module, "http_call_response");
  });

  test("component: in the answer to a call", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "call default/callee /ask; pause", "call-answer": "set x-asked yes" });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "held");
    failAt(module, 1);
    exchange.callouts[0]?.done(undefined);
    assert.deepEqual(exchange.events, ["fail filter_failed"]);
    await assertRenewed(bench, module, "call_answer");
  });

  test("component: in handing over what a callback gets", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "call default/callee /ask; pause", "call-answer": "set x-asked yes" });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "held");
    const headers = HeaderBlock.from([[":status", "200"]]);
    exchange.callouts[0]?.done({ headers, body: "no bytes" as unknown as Uint8Array, trailers: undefined });
    assert.deepEqual(exchange.events, ["fail filter_failed"]);
    assert.deepEqual([...module.stats.faults], [["host", 1]]);
    assert.deepEqual([bugsTold(bench), module.status().traps], [1, 1]);
    exchange.chain.close();
    bench.clock.advance(0);
    assert.deepEqual([module.status().contexts, module.status().instances], [0, 1]);
  });

  test("extism: when a function that waits goes on, in time or after its exchange, and who waits for an instance gets one", async () => {
    for (const isOver of [false, true]) {
      const { bench, module } = await loadPlugin(PASS_ON);
      const exchange = bench.exchange([module]);
      assert.equal(exchange.chain.requestHead(true), "held");
      await settle();
      if (isOver) exchange.chain.close();
      failAt(module, 1);
      await answerPlugin(exchange, setting("ann"));
      assert.deepEqual(exchange.events, isOver ? [] : ["fail filter_failed"]);
      if (!isOver) assert.match(String(exchange.failure), /the host failed: a bug/);
      assert.deepEqual([...module.stats.faults], [["host", 1]]);
      assert.equal(bugsTold(bench), 1);
      const next = bench.exchange([module]);
      assert.equal(next.chain.requestHead(true), "held");
      await settle();
      await answerPlugin(next, setting("bob"));
      assert.equal(next.request.headers.get("x-user"), "bob");
      next.chain.close();
      exchange.chain.close();
      assert.deepEqual([module.status().contexts, module.status().instances], [0, 1]);
    }
  });

  test("extism: in what it makes of the answer, whether its functions wait or not", async () => {
    const { bench, module } = await loadPlugin(PASS_ON);
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    await settle();
    exchange.request.headers.set = () => {
      throw new TypeError("a bug");
    };
    await answerPlugin(exchange, setting("ann"));
    assert.deepEqual(exchange.events, ["fail filter_failed"]);
    exchange.chain.close();
    assert.deepEqual([...module.stats.faults], [["host", 1]]);
    assert.equal(bugsTold(bench), 1);
    assert.deepEqual([module.status().contexts, module.status().traps], [0, 1]);
  });
});
