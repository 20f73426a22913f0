import assert from "node:assert/strict";
import { PROXY_WASM_LIMITS, QUEUE_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterBench, filterConfig, settle } from "../kit/filters.ts";
import { OUT_A, OUT_B, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/**
 * Work that filters make for themselves: words about items of shared queues, answers to calls of their own. None of it may keep the event
 * loop, whoever feeds whom. In virtual time.
 */

/** Where a filter that is not stopped stops by itself, so that a test fails and does not hang. */
const ENOUGH = 2_000;

const REGISTER: Script = function* (guest) {
  yield guest.host("proxy_register_shared_queue", guest.put("q"), 1, OUT_A);
  return 1;
};
const ENQUEUE: Script = function* (guest) {
  assert.equal(yield guest.host("proxy_enqueue_shared_queue", 1, guest.put("i"), 1), abi.OK);
  return 0;
};
const dequeue = (guest: PuppetGuest) => guest.host("proxy_dequeue_shared_queue", 1, OUT_A, OUT_B);

/** Takes an item out and puts one in, so many times. */
function feeding(
  bench: FilterBench,
  left = ENOUGH,
  before: (guest: PuppetGuest) => ReturnType<Script> = nothing,
): { told: number; left: number } {
  const seen = { told: 0, left };
  bench.puppet.on("queue_ready", function* (guest) {
    seen.told++;
    yield* before(guest);
    yield dequeue(guest);
    if (seen.left-- <= 0) return 0;
    yield guest.host("proxy_enqueue_shared_queue", 1, guest.put("i"), 1);
    return 0;
  });
  return seen;
}

function* nothing(): ReturnType<Script> {
  yield* [];
  return 0;
}

/** One exchange that puts an item in. */
function feed(bench: FilterBench, module: FilterModule): void {
  const { chain } = bench.exchange([module]);
  assert.equal(chain.requestHead(true), "forward");
  chain.log();
  chain.close();
}

async function fed(change: Parameters<typeof filterConfig>[0] = {}): Promise<[FilterBench, FilterModule]> {
  const bench = new FilterBench();
  bench.puppet.on("configure", REGISTER).on("request_headers", ENQUEUE);
  return [bench, await bench.load(filterConfig(change))];
}

/** Timers of somebody else, one after the other: what they found each time. */
function turns(bench: FilterBench, seen: { told: number }, count: number): number[] {
  const found: number[] = [];
  const turn = (): void => {
    found.push(seen.told);
    if (found.length < count) bench.clock.setTimer(0, turn);
  };
  bench.clock.setTimer(0, turn);
  return found;
}

describe("shared queues that feed themselves", () => {
  test("each round is bounded, and everybody else has a turn before the next", async () => {
    const [bench, module] = await fed();
    const seen = feeding(bench);
    feed(bench, module);
    await settle();
    assert.equal(seen.told, 0, "not in the turn of the request");
    const found = turns(bench, seen, 10);
    bench.clock.advance(0);
    for (const [i, told] of found.entries()) assert.ok(told <= (i + 1) * QUEUE_LIMITS.perTurn, `${told} in turn ${i}`);
    assert.equal(bench.puppet.errors.length, 0);
  });

  test("a second has a bound: what is over it waits, is counted, and comes later", async () => {
    const [bench, module] = await fed();
    const seen = feeding(bench, 2 * QUEUE_LIMITS.perSecond);
    feed(bench, module);
    bench.clock.advance(0);
    assert.equal(seen.told, QUEUE_LIMITS.perSecond);
    assert.equal(module.stats.waits, 1);
    bench.clock.advance(999);
    assert.equal(seen.told, QUEUE_LIMITS.perSecond);
    assert.equal(module.stats.waits, 10);
    seen.left = 99;
    bench.clock.advance(1);
    assert.equal(seen.told, QUEUE_LIMITS.perSecond + 100);
  });

  test("nothing comes once the filter is gone", async () => {
    const [bench, module] = await fed();
    const seen = feeding(bench);
    feed(bench, module);
    module.dispose();
    bench.clock.advance(2_000);
    assert.equal(seen.told, 0);
    assert.equal(bench.clock.pending, 0);
  });

  test("each word pays from the filter's share of the second", async () => {
    const fuelPerSecond = 2_000_000;
    const [bench, module] = await fed({ budget: { fuelPerSecond } });
    const seen = feeding(bench, ENOUGH, function* (guest) {
      yield guest.host("burn", 50_000);
      return 0;
    });
    const { fuel: before = 0 } = module.status();
    feed(bench, module);
    bench.clock.advance(0);
    const used = (module.status().fuel ?? 0) - before;
    assert.ok(seen.told > 1 && seen.told < 50, `${seen.told} times`);
    assert.ok(used >= fuelPerSecond && used < fuelPerSecond + 1_000_000, `${used} fuel: one callback over it at most`);
    const { told } = seen;
    assert.equal(module.stats.waits, 1);
    // As an exchange does, and in the second after it has some again.
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    bench.clock.advance(1_000);
    assert.ok(seen.told > told);
  });

  test("a costly word is the last of its turn", async () => {
    const [bench, module] = await fed({ budget: { callbackFuel: 100_000_000 } });
    const seen = feeding(bench, 10, function* (guest) {
      // Each round of that loop costs ten and more.
      yield guest.host("burn", QUEUE_LIMITS.turnFuel / 10);
      return 0;
    });
    feed(bench, module);
    const found = turns(bench, seen, 5);
    bench.clock.advance(0);
    for (const [i, told] of found.entries()) assert.ok(told <= i + 1, `${told} in turn ${i}`);
    assert.deepEqual([seen.told, module.status().traps], [11, 0]);
  });

  test("two filters that feed each other, and one that puts its items into many queues", async () => {
    const [bench, module] = await fed({ capabilities: { sharedData: "both" } });
    const other = await bench.load(filterConfig({ name: "default/other", capabilities: { sharedData: "both" } }));
    let told = 0;
    bench.puppet.on("queue_ready", function* (guest, _root, queue) {
      if (told++ > ENOUGH) return 0;
      for (const id of [1, 2, 3, 4]) {
        yield guest.host("proxy_enqueue_shared_queue", id, guest.put("i"), 1);
        yield guest.host("proxy_dequeue_shared_queue", queue ?? 0, OUT_A, OUT_B);
      }
      return 0;
    });
    bench.puppet.on("request_headers", function* (guest) {
      for (const name of ["a", "b", "c"]) yield guest.host("proxy_register_shared_queue", guest.put(name), 1, OUT_A);
      return yield* ENQUEUE(guest);
    });
    feed(bench, other);
    feed(bench, module);
    const seen = {
      get told() {
        return told;
      },
    };
    const found = turns(bench, seen, 10);
    bench.clock.advance(0);
    for (const [i, each] of found.entries()) assert.ok(each <= 2 * (i + 1) * QUEUE_LIMITS.perTurn, `${each} in turn ${i}`);
    assert.ok(told > ENOUGH);
  });

  test("items taken out and put in again do not pile words up", async () => {
    const [bench, module] = await fed({ budget: { callbackFuel: 100_000_000, hostCallsPerCallback: 100_000 } });
    let told = 0;
    bench.puppet
      .on("queue_ready", function* () {
        yield* [];
        told++;
        return 0;
      })
      .on("request_headers", function* (guest) {
        for (let i = 0; i < PROXY_WASM_LIMITS.queueItems + 100; i++) {
          yield guest.host("proxy_enqueue_shared_queue", 1, 0, 1);
          yield dequeue(guest);
        }
        return 0;
      });
    feed(bench, module);
    bench.clock.advance(0);
    assert.equal(told, PROXY_WASM_LIMITS.queueItems);
  });
});

describe("words about items wait for an instance", () => {
  test("while there is none, until the next one is there", async () => {
    const [bench, module] = await fed();
    const told: number[] = [];
    bench.puppet.on("queue_ready", function* (guest) {
      told.push(yield dequeue(guest));
      return 0;
    });
    feed(bench, module);
    bench.puppet.on("request_headers", function* (guest) {
      yield guest.host("trap");
      return 0;
    });
    for (let i = 0; i < 2; i++) assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    assert.equal(module.status().instances, 0);
    bench.clock.advance(0);
    assert.deepEqual(told, []);
    bench.clock.advance(PROXY_WASM_LIMITS.restartMinMs);
    assert.deepEqual(told, [abi.OK]);
  });

  test("while it does not serve yet", async () => {
    const [bench, module] = await fed();
    const seen = feeding(bench);
    module.holdTicks?.(true);
    feed(bench, module);
    bench.clock.advance(100);
    assert.equal(seen.told, 0);
    module.holdTicks?.(false);
    bench.clock.advance(0);
    assert.ok(seen.told > 0);
  });

  test("of an isolated filter: until one is free; what an item of its own said in a tick outlasts an exchange", async () => {
    for (const sharedData of [undefined, "team"]) {
      const [bench, module] = await fed({ isolated: true, capabilities: { sharedData } });
      let told = 0;
      bench.puppet
        .on("configure", function* (guest) {
          yield guest.host("proxy_set_tick_period_milliseconds", 10);
          return yield* REGISTER(guest);
        })
        .on("queue_ready", function* (guest) {
          yield dequeue(guest);
          told++;
          return 0;
        })
        .on("request_headers", nothing)
        .on("tick", function* (guest) {
          bench.puppet.on("tick", nothing);
          return yield* ENQUEUE(guest);
        });
      module.control("disable");
      module.control("enable");
      const { clock } = bench;
      // In the turn of the tick an exchange takes the instance, before the word comes.
      clock.setTimer(10, () => {
        const { chain } = bench.exchange([module]);
        chain.requestHead(true);
        clock.setTimer(5, () => chain.close());
      });
      clock.advance(14);
      assert.equal(told, 0);
      clock.advance(1);
      await settle();
      clock.advance(0);
      assert.equal(told, 1, String(sharedData));
    }
  });
});

describe("answers to a filter's own calls", () => {
  test("wait when its share of the second is used up", async () => {
    const bench = new FilterBench();
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 10);
        return 1;
      })
      .on("tick", function* (guest) {
        bench.puppet.on("tick", nothing);
        yield guest.host(
          "proxy_http_call",
          guest.put("auth"),
          4,
          ...guest.putPairs([
            [":method", "GET"],
            [":path", "/"],
            [":authority", "a"],
          ]),
          0,
          0,
          0,
          0,
          1_000,
          OUT_A,
        );
        yield guest.host("burn", 20_000);
        return 0;
      });
    const config = { capabilities: { callouts: ["default/auth"] }, budget: { fuelPerSecond: 100_000 } };
    const module = await bench.load(filterConfig(config));
    bench.clock.advance(10);
    assert.equal(bench.rootCallouts.length, 1);
    // What the tick used is written down.
    module.status();
    bench.rootCallouts[0]?.done(undefined);
    assert.equal(bench.puppet.entered.includes("http_call_response"), false);
    assert.equal(module.stats.waits, 1);
    bench.clock.advance(1_100);
    assert.equal(bench.puppet.entered.includes("http_call_response"), true);
  });
});
