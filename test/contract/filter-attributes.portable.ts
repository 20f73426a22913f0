import assert from "node:assert/strict";
import { SET_ATTRIBUTE_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { ComponentBench } from "../kit/component.ts";
import { FilterBench, filterConfig, TestExchange } from "../kit/filters.ts";
import type { PuppetGuest, Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/** What attributes that filters set may hold, in exchanges and in streams that go on for days: at the edge. */

const { names, bytes } = SET_ATTRIBUTE_LIMITS;
/** So that this bound is what ends, and no budget. */
const BUDGET = { callbackFuel: 1_000_000_000, exchangeFuel: 10_000_000_000, outputBytes: 64 * 1024 * 1024 };
const VALUE_AT = 65_536;

class Stream extends TestExchange {
  get isStream(): boolean {
    return true;
  }
}

const set = (guest: PuppetGuest, name: string, size: number) =>
  guest.host("proxy_set_property", guest.put(name), name.length, VALUE_AT, size);

/** Runs each script in a callback of its own of one exchange, or of one stream. */
async function play(kind: "exchange" | "stream", scripts: readonly Script[]): Promise<[FilterModule, TestExchange]> {
  const bench = new FilterBench();
  bench.puppet.on("configure", function* (guest) {
    yield guest.host("grow", 32);
    return 1;
  });
  const module = await bench.load(filterConfig({ budget: BUDGET }));
  const exchange = kind === "stream" ? new Stream(bench.chains, [module], {}) : bench.exchange([module]);
  exchange.chain.requestHead(false);
  for (const script of scripts) {
    bench.puppet.on(kind === "stream" ? "downstream_data" : "request_body", script);
    assert.equal(exchange.chain.requestData(new Uint8Array(1), false), "forward");
  }
  for (const error of bench.puppet.errors) throw error;
  assert.equal(module.status().traps, 0);
  return [module, exchange];
}

for (const kind of ["exchange", "stream"] as const) {
  describe(`attributes that a filter sets in one ${kind}`, () => {
    test("names: so many, one more fails, and one that is there may be set again", async () => {
      const scripts: Script[] = [];
      for (let from = 0; from < names; from += 64)
        scripts.push(function* (guest) {
          for (let i = from; i < from + 64; i++) assert.equal(yield set(guest, `selvedge.log.${i}`, 1), abi.OK);
          return 0;
        });
      scripts.push(function* (guest) {
        assert.equal(yield set(guest, "one.more", 0), abi.INTERNAL_FAILURE);
        assert.equal(yield set(guest, "selvedge.log.7", 3), abi.OK);
        return 0;
      });
      const [module, { chain }] = await play(kind, scripts);
      assert.deepEqual([chain.notes?.size, chain.notes?.get("7")?.length, chain.notes?.get("8")?.length], [names, 3, 1]);
      assert.equal(module.stats.faults.get("budget"), 1);
    });

    test("bytes of names and values: to the last one; what is replaced is free again", async () => {
      const [module, { chain }] = await play(kind, [
        function* (guest) {
          for (let i = 0; i < 5; i++) assert.equal(yield set(guest, "a", bytes - 1), abi.OK, "again and again");
          assert.equal(yield set(guest, "a", bytes), abi.INTERNAL_FAILURE);
          assert.equal(yield set(guest, "b", 0), abi.INTERNAL_FAILURE);
          return 0;
        },
        function* (guest) {
          assert.equal(yield set(guest, "b", 0), abi.INTERNAL_FAILURE, "also in a later callback");
          assert.equal(yield set(guest, "a", bytes - 9), abi.OK);
          assert.equal(yield set(guest, "12345678", 0), abi.OK);
          assert.equal(yield set(guest, "b", 0), abi.INTERNAL_FAILURE);
          return 0;
        },
      ]);
      assert.equal(module.stats.faults.get("budget"), 4);
      assert.equal(chain.notes, undefined);
      chain.close();
    });

    test("each filter has its own; what another one sets again is that one's; the next exchange begins at nothing", async () => {
      const bench = new FilterBench();
      const callback = kind === "stream" ? "new_connection" : "request_headers";
      const found: number[] = [];
      bench.puppet
        .on("configure", function* (guest) {
          yield guest.host("grow", 32);
          return 1;
        })
        .on(callback, function* (guest) {
          found.push(yield set(guest, "a", bytes - 1), yield set(guest, "b", 0));
          return 0;
        });
      const load = (name: string) => bench.load(filterConfig({ name, budget: BUDGET }));
      const modules = [await load("default/one"), await load("default/two")];
      for (let i = 0; i < 2; i++) {
        const { chain } = kind === "stream" ? new Stream(bench.chains, modules, {}) : bench.exchange(modules);
        chain.requestHead(false);
        chain.close();
      }
      for (const error of bench.puppet.errors) throw error;
      assert.deepEqual(found, new Array(4).fill([abi.OK, abi.INTERNAL_FAILURE]).flat());
    });
  });
}

describe("attributes that a component sets", () => {
  test("one more than so many is left out, and counted", async () => {
    const bench = new ComponentBench();
    const lines = Array.from({ length: names + 1 }, (_, i) => `set-attribute selvedge.log.${i} b`).join("; ");
    const module = await bench.actor({ "request-head": lines }, { budget: { callbackFuel: 1_000_000_000 } });
    const { chain } = bench.exchange([module]);
    assert.equal(chain.requestHead(true), "forward");
    assert.deepEqual([chain.notes?.size, chain.notes?.has(String(names))], [names, false]);
    assert.equal(module.stats.faults.get("budget"), 1);
  });
});
