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

export const STARVING: readonly Attack[] = [
  breeding("a queue that feeds itself"),
  breeding("a queue that feeds itself, and lets go of what waits", function* (guest) {
    yield guest.host("proxy_continue_stream", 0);
    yield guest.host("proxy_done");
    return 0;
  }),
];
