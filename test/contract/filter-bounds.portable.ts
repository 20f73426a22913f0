import assert from "node:assert/strict";
import { COMPONENT_LIMITS, EXTISM_LIMITS, type FilterBudget, PROXY_WASM_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { ModuleAssembler } from "../kit/assembler.ts";
import { ComponentBench } from "../kit/component.ts";
import { answering, buildPlugin, ExtismBench } from "../kit/extism.ts";
import { FilterBench, filterConfig, playInRequest } from "../kit/filters.ts";
import { OUT_A } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/**
 * Every bound of a filter at its edge: so much passes, one more does not. Those that have the same words in every ABI are cases of
 * filter-table/cases, those of one ABI stand in its own suites, the rest is here.
 *
 * | bound | proxy-wasm | component | Extism |
 * |---|---|---|---|
 * | fuel of a callback, an exchange, a start; share of a second | filter-host-fuel, filter-host-control | filter-host-component-life | filter-host-extism-attacks |
 * | depth of calls | meter/fuel, filter-table/faults | the same | the same |
 * | memory | filter-host-faults | filter-host-component-life | filter-host-extism-attacks |
 * | tables and their elements | here (one meter for all) | | |
 * | body held; fields of a head; log lines a second | filter-table | filter-table | filter-table |
 * | calls under way; metrics; keys of shared data | filter-table | filter-table | keys: filter-host-extism-attacks |
 * | size of shared data | filter-host-state | filter-host-state (one store) | filter-host-extism-attacks |
 * | output of an exchange | filter-host-faults | filter-host-component | filter-host-extism |
 * | calls of the host in a callback | filter-host-faults | here | filter-host-extism-attacks |
 * | contexts of an instance | filter-host-faults | filter-host-component-life | here |
 * | a line of the log, a name | here | here | here |
 * | queues, items in one | here | | |
 * | values of one call | | here | |
 * | blocks of one call; state | | | filter-host-extism-attacks; filter-host-extism |
 * | pause | filter-table | filter-table | |
 * | faults in a window | filter-host-fuel | filter-host-component-life | filter-host-extism-attacks |
 */

const { logLineBytes, nameBytes, queues, queueItems, tables, tableElements } = PROXY_WASM_LIMITS;

describe("bounds at their edge: proxy-wasm", () => {
  test("names of metrics, keys and queues", async () => {
    await playInRequest(function* (guest) {
      for (const [size, status] of [
        [nameBytes, abi.OK],
        [nameBytes + 1, abi.BAD_ARGUMENT],
      ] as const) {
        const name = guest.put("n".repeat(size));
        assert.equal(yield guest.host("proxy_define_metric", 0, name, size, OUT_A), status, `a metric of ${size}`);
        assert.equal(yield guest.host("proxy_set_shared_data", name, size, 0, 0, 0), status, `a key of ${size}`);
        assert.equal(yield guest.host("proxy_register_shared_queue", name, size, OUT_A), status, `a queue of ${size}`);
      }
      return 0;
    });
  });

  test("a line of the log is cut", async () => {
    const [bench] = await playInRequest(function* (guest) {
      const text = guest.put("l".repeat(logLineBytes + 1));
      for (const size of [logLineBytes, logLineBytes + 1]) assert.equal(yield guest.host("proxy_log", 2, text, size), abi.OK);
      return 0;
    });
    assert.deepEqual(
      bench.log.lines.map((line) => line.length - "info ".length),
      [logLineBytes, logLineBytes],
    );
  });

  test("queues, and items in one", async () => {
    await playInRequest(
      function* (guest) {
        let id = 0;
        for (let i = 0; i <= queues; i++) {
          const name = `queue ${i}`;
          const status = yield guest.host("proxy_register_shared_queue", guest.put(name), name.length, OUT_A);
          assert.equal(status, i < queues ? abi.OK : abi.INTERNAL_FAILURE, name);
          if (i === 0) id = guest.u32(OUT_A);
        }
        for (let i = 0; i <= queueItems; i++) {
          const status = yield guest.host("proxy_enqueue_shared_queue", id, 0, 1);
          assert.equal(status, i < queueItems ? abi.OK : abi.INTERNAL_FAILURE, `item ${i}`);
        }
        return 0;
      },
      { budget: { callbackFuel: 100_000_000 } },
    );
  });

  test("bytes in all queues of a namespace together", async () => {
    await playInRequest(
      function* (guest) {
        const ids: number[] = [];
        for (const name of ["one", "two"]) {
          assert.equal(yield guest.host("proxy_register_shared_queue", guest.put(name), name.length, OUT_A), abi.OK);
          ids.push(guest.u32(OUT_A));
        }
        const [one = 0, two = 0] = ids;
        const enqueue = (id: number, size: number) => guest.host("proxy_enqueue_shared_queue", id, 0, size);
        assert.equal(yield enqueue(one, 60), abi.OK);
        assert.equal(yield enqueue(two, 41), abi.INTERNAL_FAILURE);
        assert.equal(yield enqueue(two, 40), abi.OK);
        assert.equal(yield enqueue(one, 1), abi.INTERNAL_FAILURE);
        assert.equal(yield guest.host("proxy_dequeue_shared_queue", one, OUT_A, OUT_A), abi.OK);
        assert.equal(yield enqueue(two, 60), abi.OK);
        return 0;
      },
      { budget: { sharedDataBytes: 100 } },
    );
  });

  const load = (module: ModuleAssembler): Promise<FilterModule> => {
    module.memory(1, undefined, "memory");
    module.func({ name: "proxy_on_memory_allocate", params: ["i32"], results: ["i32"], body: "i32.const 0" });
    module.func({ name: "proxy_abi_version_0_2_1", body: "" });
    return new FilterBench().load(filterConfig({}), module.build());
  };

  test("tables, and elements of one", async () => {
    const several = (count: number): ModuleAssembler => {
      const module = new ModuleAssembler();
      for (let i = 0; i < count; i++) module.table(1);
      return module;
    };
    await load(several(tables));
    await assert.rejects(load(several(tables + 1)), /tables/);
    await load(new ModuleAssembler().table(tableElements));
    await assert.rejects(load(new ModuleAssembler().table(tableElements + 1)), /table/);
  });
});

describe("bounds at their edge: components", () => {
  async function inRequest(commands: string, budget: Partial<FilterBudget> = {}) {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": commands }, { budget });
    const exchange = bench.exchange([module]);
    return { bench, result: exchange.chain.requestHead(true), words: String(exchange.chain.failure) };
  }

  test("calls of the host in one callback", async () => {
    // The handle of the request is given back: one call more than it makes itself.
    assert.equal((await inRequest("calls 5", { hostCallsPerCallback: 6 })).result, "forward");
    const beyond = await inRequest("calls 6", { hostCallsPerCallback: 6 });
    assert.equal(beyond.result, "failed");
    assert.match(beyond.words, /more than 6 calls to the host/);
  });

  test("values that one call hands over", async () => {
    // A field is a record and two texts; what is within the bound fails as what it is: a head that is too large.
    const fields = Math.floor((COMPONENT_LIMITS.liftedItems - 1) / 3);
    const fuel = { callbackFuel: 1_000_000_000, exchangeFuel: 1_000_000_000 };
    assert.match((await inRequest(`long-list ${fields - 1}`, fuel)).words, /answer is larger than its budget/);
    assert.match((await inRequest(`long-list ${fields}`, fuel)).words, /more values than one call may/);
  });

  test("a name, and a line of the log", async () => {
    const [fits, large] = ["n".repeat(nameBytes), "n".repeat(nameBytes + 1)];
    const { bench } = await inRequest(
      `shared-set ${fits} a; shared-set ${large} a; count ${fits} 1; count ${large} 1; log ${"l".repeat(logLineBytes + 1)}`,
      { callbackFuel: 100_000_000, exchangeFuel: 100_000_000 },
    );
    const [set, refused, noMetric, line] = bench.said;
    assert.deepEqual([set?.endsWith(": ok"), refused?.endsWith(": full"), noMetric], [true, true, "no metric"]);
    assert.equal(line?.length, logLineBytes);
    assert.equal(bench.metrics.names.length, 1);
  });
});

describe("bounds at their edge: plug-ins of Extism", () => {
  test("contexts of an instance: the one beyond gets onFailure, a closed one makes room", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(answering("{}"), { budget: { contextsPerInstance: 2 } });
    const [a, b, c] = [0, 1, 2].map(() => bench.exchange([module]));
    assert.deepEqual(
      [a, b, c].map((exchange) => exchange?.chain.requestHead(true)),
      ["forward", "forward", "failed"],
    );
    assert.match(String(c?.chain.failure), /too many contexts/);
    a?.chain.close();
    assert.equal(bench.exchange([module]).chain.requestHead(true), "forward");
  });

  test("the name of a variable, and a line of the log", async () => {
    const budget = { callbackFuel: 100_000_000, exchangeFuel: 100_000_000 };
    for (const [size, result] of [
      [nameBytes, "forward"],
      [nameBytes + 1, "failed"],
    ] as const) {
      const wasm = buildPlugin({ text: "n".repeat(size), exports: { on_request: "$text $text $var_set i32.const 0" } });
      const module = await new ExtismBench().load(wasm, { budget });
      assert.equal(new ExtismBench().exchange([module]).chain.requestHead(true), result, `a name of ${size}`);
    }
    const bench = new ExtismBench();
    const wasm = buildPlugin({ text: "l".repeat(logLineBytes + 1), exports: { on_request: "$text $log_info i32.const 0" } });
    bench.exchange([await bench.load(wasm, { budget })]).chain.requestHead(true);
    assert.deepEqual(
      bench.log.lines.map((line) => line.length - "info ".length),
      [logLineBytes],
    );
  });

  test("its state", async () => {
    for (const [length, result] of [
      [EXTISM_LIMITS.stateChars, "forward"],
      [EXTISM_LIMITS.stateChars + 1, "failed"],
    ] as const) {
      const bench = new ExtismBench();
      const module = await bench.load(answering(JSON.stringify({ state: "s".repeat(length) })), {
        budget: { callbackFuel: 10_000_000 },
      });
      assert.equal(bench.exchange([module]).chain.requestHead(true), result);
    }
  });
});
