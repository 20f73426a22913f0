import assert from "node:assert/strict";
import { type Attack, inCallbacks } from "./attacks.ts";
import { FilterBench, filterConfig, type TestExchange } from "./filters.ts";
import { OUT_A, OUT_B, type Script } from "./puppet.ts";

/** Attacks by work that a filter makes for itself, to keep the event loop. */

const NOTHING: Script = function* () {
  yield* [];
  return 0;
};

/** Items that bring forth items: told of 300 times for each that an exchange puts in. */
const breeding = (name: string, each: Script = NOTHING): Attack => {
  let left = 0;
  const load = (bench: FilterBench) => {
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_register_shared_queue", guest.put("q"), 1, OUT_A);
        return 1;
      })
      .on("request_headers", function* (guest) {
        left = 300;
        yield guest.host("proxy_enqueue_shared_queue", 1, 0, 1);
        return 0;
      })
      .on("queue_ready", function* (guest, ...parameters) {
        yield guest.host("proxy_dequeue_shared_queue", 1, OUT_A, OUT_B);
        if (left-- > 0) yield guest.host("proxy_enqueue_shared_queue", 1, 0, 1);
        return yield* each(guest, ...parameters);
      });
    return bench.load(filterConfig({ budget: { faults: 0 } }));
  };
  const check = ({ chain }: TestExchange, bench: FilterBench): string => {
    assert.equal(chain.failure, undefined);
    // Before the loop had a turn nothing of it runs.
    assert.equal(bench.puppet.entered.includes("queue_ready"), false);
    bench.clock.advance(500);
    assert.equal(bench.puppet.entered.filter((entered) => entered === "queue_ready").length, 301);
    for (const error of bench.puppet.errors) throw error;
    bench.puppet.entered.length = 0;
    return "";
  };
  return inCallbacks(name, /^forward$/, () => new FilterBench(), load, check);
};

/** Exchanges that come together to an isolated filter, whose ticks write: each wants an instance of its own. */
const CROWDING: Attack = {
  name: "isolated: instances at will",
  kind: "callback",
  expect: /^at most 2, then all$/,
  async prepare() {
    const bench = new FilterBench();
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 10);
        return 1;
      })
      .on("tick", function* (guest) {
        yield guest.host("burn", 10);
        return 0;
      });
    const module = await bench.load(filterConfig({ isolated: true, budget: { faults: 0 } }));
    return async () => {
      const before = module.status().instances;
      const exchanges = Array.from({ length: 6 }, () => bench.exchange([module]));
      for (const { chain } of exchanges) chain.requestHead(true);
      const made = module.status().instances - before;
      bench.clock.advance(100);
      const served = exchanges.filter(({ failure, chain }) => failure === undefined && chain.failure === undefined).length;
      for (const { chain } of exchanges) chain.close();
      assert.deepEqual([module.status().contexts, module.status().traps], [0, 0]);
      return made <= 2 && served === exchanges.length ? "at most 2, then all" : `${made} in one turn, ${served} served`;
    };
  },
};

export const STARVING: readonly Attack[] = [
  CROWDING,
  breeding("a queue that feeds itself"),
  breeding("a queue that feeds itself, and lets go of what waits", function* (guest) {
    yield guest.host("proxy_continue_stream", 0);
    yield guest.host("proxy_done");
    return 0;
  }),
];
