import assert from "node:assert/strict";
import { HeaderBlock } from "../../src/core/head.ts";
import { FILTER_HEAD_LIMITS } from "../../src/core/limits.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { ComponentBench } from "../kit/component.ts";
import { answering, ExtismBench } from "../kit/extism.ts";
import { FilterBench, filterConfig } from "../kit/filters.ts";
import type { Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/** What a filter may add to heads: as many fields and bytes as a peer may send, in each direction, at the edge. */

const { fields: FIELDS, bytes: BYTES } = FILTER_HEAD_LIMITS;
const pairsOf = (count: number): [string, string][] => Array.from({ length: count }, (_, i) => [`x-${i}`, ""]);

describe("heads that filters make", () => {
  /** Statuses of adding so many fields to a request and then to its answer. */
  async function add(count: number, valueBytes: number): Promise<{ statuses: number[]; fields: number }> {
    const bench = new FilterBench();
    const statuses: number[] = [];
    const script = (map: number): Script =>
      function* (guest) {
        const name = guest.put("x-a");
        const value = guest.put("v".repeat(valueBytes));
        for (let i = 0; i < count; i++)
          statuses.push(yield guest.host("proxy_add_header_map_value", map, name, 3, value, valueBytes));
        return 0;
      };
    bench.puppet.on("request_headers", script(0)).on("response_headers", script(2));
    const exchange = bench.exchange([await bench.load()]);
    const before = exchange.request.headers.length;
    exchange.chain.requestHead(true);
    exchange.respond(200, [], true);
    return { statuses, fields: exchange.request.headers.length - before };
  }

  test("expect is the caller's: no filter adds it, and a whole map leaves it where it is", async () => {
    const statuses: number[] = [];
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      const [name, value] = [guest.put("Expect"), guest.put("100-continue")];
      statuses.push(yield guest.host("proxy_add_header_map_value", 0, name, 6, value, 12));
      statuses.push(yield guest.host("proxy_replace_header_map_value", 0, name, 6, value, 12));
      statuses.push(yield guest.host("proxy_set_header_map_pairs", 0, ...guest.putPairs([["x-a", "1"]])));
      return 0;
    });
    const module = await bench.load();
    for (const given of [[], ["100-continue"]]) {
      const headers = HeaderBlock.from(given.map((value) => ["expect", value] as const));
      const { chain, request } = bench.exchange([module], { headers });
      assert.equal(chain.requestHead(false), "forward");
      assert.deepEqual(request.headers.getAll("expect"), given);
      assert.equal(request.headers.get("x-a"), "1");
    }
    assert.deepEqual(statuses, [abi.BAD_ARGUMENT, abi.BAD_ARGUMENT, abi.OK, abi.BAD_ARGUMENT, abi.BAD_ARGUMENT, abi.OK]);
  });

  test("proxy-wasm: fields by number, in each direction", async () => {
    const { statuses, fields } = await add(FIELDS + 1, 0);
    const direction = [...new Array<number>(FIELDS).fill(abi.OK), abi.INTERNAL_FAILURE];
    assert.deepEqual(statuses, [...direction, ...direction]);
    assert.equal(fields, FIELDS);
  });

  test("proxy-wasm: fields by size", async () => {
    const half = BYTES / 4 - 3;
    assert.deepEqual((await add(4, half)).statuses, new Array<number>(8).fill(abi.OK));
    const { statuses, fields } = await add(5, half);
    assert.deepEqual(statuses.slice(0, 5), [0, 0, 0, 0, abi.INTERNAL_FAILURE]);
    assert.equal(fields, 4);
  });

  test("proxy-wasm: a whole map, a response and a call of its own", async () => {
    for (const [count, isFine] of [
      [FIELDS, true],
      [FIELDS + 1, false],
    ] as const) {
      const bench = new FilterBench();
      const statuses: number[] = [];
      bench.puppet.on("request_headers", function* (guest) {
        const pairs = guest.putPairs(pairsOf(count));
        const line: [string, string][] = [
          [":method", "GET"],
          [":path", "/"],
          [":authority", "a"],
        ];
        const call = guest.putPairs([...line, ...pairsOf(count - line.length)]);
        const none = guest.putPairs([]);
        const name = guest.put("callee");
        statuses.push(yield guest.host("proxy_set_header_map_pairs", 0, ...pairs));
        statuses.push(yield guest.host("proxy_http_call", name, 6, ...call, 0, 0, ...none, 100, 900));
        statuses.push(yield guest.host("proxy_send_local_response", 200, 0, 0, 0, 0, ...pairs, -1));
        return 0;
      });
      const module = await bench.load(filterConfig({ capabilities: { callouts: ["default/callee"] } }));
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      for (const error of bench.puppet.errors) throw error;
      assert.deepEqual(statuses, isFine ? [0, 0, 0] : [abi.INTERNAL_FAILURE, abi.BAD_ARGUMENT, abi.INTERNAL_FAILURE]);
      assert.equal(exchange.callouts.length, isFine ? 1 : 0);
    }
  });

  test("component: fields, and a response of its own", async () => {
    const bench = new ComponentBench();
    const budget = { callbackFuel: 100_000_000, exchangeFuel: 100_000_000, logLinesPerSecond: 1_000 };
    const exchange = bench.exchange([await bench.actor({ "request-head": "add x-a 1; ".repeat(FIELDS + 1) }, { budget })]);
    exchange.chain.requestHead(true);
    assert.deepEqual(bench.said, [...new Array<string>(FIELDS).fill("add x-a 1: ok"), "add x-a 1: over-budget"]);
    for (const [count, result] of [
      [FIELDS, "respond"],
      [FIELDS + 1, "failed"],
    ] as const) {
      const answered = bench.exchange([await bench.actor({ "request-head": `long-list ${count}` })]);
      assert.equal(answered.chain.requestHead(true), result);
    }
  });

  test("extism: fields, and a response of its own", async () => {
    const bench = new ExtismBench();
    for (const [count, isFine] of [
      [FIELDS, true],
      [FIELDS + 1, false],
    ] as const) {
      const ask = async (answer: object): Promise<string> => {
        const exchange = bench.exchange([await bench.load(answering(JSON.stringify(answer)))]);
        return exchange.chain.requestHead(true);
      };
      assert.equal(await ask({ headers: { add: pairsOf(count) } }), isFine ? "forward" : "failed");
      assert.equal(await ask({ respond: { status: 200, headers: pairsOf(count) } }), isFine ? "respond" : "failed");
    }
  });
});
