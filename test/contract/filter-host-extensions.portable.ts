import assert from "node:assert/strict";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import {
  SKIP_CONTEXTS,
  SKIP_REQUEST_BODY,
  SKIP_REQUEST_HEADERS,
  SKIP_REQUEST_TRAILERS,
  SKIP_RESPONSE_BODY,
  SKIP_RESPONSE_HEADERS,
  SKIP_RESPONSE_TRAILERS,
} from "../../src/filters/proxy-wasm/extensions.ts";
import { FilterBench, filterConfig, settle, type TestExchange } from "../kit/filters.ts";
import { type Command, OUT_A, OUT_B, OUT_C, type PuppetGuest } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

const SKIP = "selvedge.skip_callbacks";
const ADD = "selvedge.add_response_headers";
const MAP = "selvedge.map_counter";

type Pairs = readonly (readonly [string, string])[];

const call = (guest: PuppetGuest, name: string, at: number, size: number): Command =>
  guest.host("proxy_call_foreign_function", guest.put(name), name.length, at, size, OUT_A, OUT_B);

function skip(guest: PuppetGuest, bits: number): Command {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(bits);
  return call(guest, SKIP, guest.put(bytes), 4);
}

function add(guest: PuppetGuest, pairs: Pairs): Command {
  const [at, size] = guest.putPairs(pairs);
  return call(guest, ADD, at, size);
}

/** A request and an answer with bodies and trailers. */
function runWhole(exchange: TestExchange): void {
  const { chain } = exchange;
  assert.equal(chain.requestHead(false), "forward");
  chain.requestData(new Uint8Array(3), false);
  chain.requestEnd(exchange.request.headers.copy());
  exchange.respond(200, [["a", "b"]], false);
  chain.responseData(new Uint8Array(3), false);
  chain.responseEnd(exchange.request.headers.copy());
  chain.log();
  chain.close();
}

/** Callbacks of an exchange that came when `bits` were given at configuration. */
async function enteredWith(bits: number): Promise<string[]> {
  const bench = new FilterBench();
  bench.puppet.on("configure", function* (guest) {
    assert.equal(yield skip(guest, bits), abi.OK);
    return 1;
  });
  const module = await bench.load();
  bench.puppet.entered.length = 0;
  runWhole(bench.exchange([module]));
  assert.deepEqual(bench.puppet.errors, []);
  assert.equal(module.status().contexts, 0);
  return [...bench.puppet.entered];
}

const ALL = [
  "context_create",
  "request_headers",
  "request_body",
  "request_trailers",
  "response_headers",
  "response_body",
  "response_trailers",
  "done",
  "log",
  "delete",
];

/** Runs `script` in the request's head, then an answer; its fields. */
async function answerOf(
  script: (guest: PuppetGuest) => Generator<Command, number, number>,
  outputBytes = 1000,
): Promise<[string, string][]> {
  const bench = new FilterBench();
  bench.puppet.on("request_headers", script);
  const exchange = bench.exchange([await bench.load(filterConfig({ budget: { outputBytes } }))]);
  exchange.chain.requestHead(true);
  exchange.respond(200, [["a", "b"]], true);
  assert.deepEqual(bench.puppet.errors, []);
  assert.ok(bench.puppet.entered.includes("request_headers"));
  return exchange.response?.headers.entries() ?? [];
}

describe("proxy-wasm: what this host offers beyond the ABI", () => {
  const cases: readonly [bits: number, without: readonly string[]][] = [
    [0, []],
    [SKIP_CONTEXTS, ["context_create", "delete"]],
    [SKIP_REQUEST_HEADERS, ["request_headers"]],
    [SKIP_REQUEST_BODY, ["request_body"]],
    [SKIP_REQUEST_TRAILERS, ["request_trailers"]],
    [SKIP_RESPONSE_HEADERS, ["response_headers"]],
    [SKIP_RESPONSE_BODY, ["response_body"]],
    [SKIP_RESPONSE_TRAILERS, ["response_trailers"]],
    [127, ALL.filter((name) => name !== "done" && name !== "log")],
  ];
  for (const [bits, without] of cases) {
    test(`skipped callbacks ${bits}: those do not come, all others do`, async () => {
      assert.deepEqual(
        await enteredWith(bits),
        ALL.filter((name) => !without.includes(name)),
      );
    });
  }

  test("skipping: unknown bits, a wrong size, from an exchange or while one lives: refused, and nothing changes", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      assert.equal(yield skip(guest, 128), abi.BAD_ARGUMENT);
      assert.equal(yield call(guest, SKIP, guest.put("12345678"), 5), abi.BAD_ARGUMENT);
      assert.equal(yield call(guest, SKIP, guest.put(""), 0), abi.BAD_ARGUMENT);
      assert.equal(yield call(guest, SKIP, -2, 4), abi.INVALID_MEMORY_ACCESS);
      assert.equal(yield guest.host("proxy_set_tick_period_milliseconds", 100), abi.OK);
      return 1;
    });
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield skip(guest, 127), abi.BAD_ARGUMENT);
      return 0;
    });
    bench.puppet.on("tick", function* (guest) {
      assert.equal(yield skip(guest, 127), abi.BAD_ARGUMENT);
      return 0;
    });
    const module = await bench.load();
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    bench.clock.advance(150);
    assert.ok(bench.puppet.entered.includes("tick"));
    assert.equal(exchange.respond(200, [], true), "forward");
    assert.ok(bench.puppet.entered.includes("response_headers"));
    assert.deepEqual(bench.puppet.errors, []);
    exchange.chain.close();
    module.dispose();
  });

  test("a broken instance fails its exchanges, whatever it skipped", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      assert.equal(yield skip(guest, 127 & ~SKIP_REQUEST_HEADERS), abi.OK);
      return 1;
    });
    const module = await bench.load();
    const first = bench.exchange([module]);
    assert.equal(first.chain.requestHead(true), "forward");
    bench.puppet.on("request_headers", function* (guest) {
      yield guest.host("trap");
      return 0;
    });
    const second = bench.exchange([module]);
    assert.equal(second.chain.requestHead(true), "failed");
    await settle();
    assert.deepEqual(first.events, ["fail filter_failed"]);
  });

  test("fields for the answer are behind those of the upstream, in order, before response_headers runs", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield add(guest, [["X-One", "1"]]), abi.OK);
      assert.equal(
        yield add(guest, [
          ["x-two", "2"],
          ["x-one", "again"],
        ]),
        abi.OK,
      );
      return 0;
    });
    bench.puppet.on("response_headers", function* (guest, _id, count) {
      assert.equal(count, 5);
      const key = "x-two";
      yield guest.host("proxy_get_header_map_value", 2, guest.put(key), key.length, OUT_A, OUT_B);
      assert.equal(guest.given(OUT_A, OUT_B), "2");
      assert.equal(yield add(guest, [["x-late", "1"]]), abi.BAD_ARGUMENT);
      return 0;
    });
    const module = await bench.load();
    for (let round = 0; round < 2; round++) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      exchange.respond(200, [["a", "b"]], true);
      assert.deepEqual(exchange.response?.headers.entries(), [
        ["a", "b"],
        ["x-one", "1"],
        ["x-two", "2"],
        ["x-one", "again"],
      ]);
      exchange.chain.close();
    }
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("fields of an exchange that never had an answer do not reach the next one", async () => {
    const bench = new FilterBench();
    const module = await bench.load();
    let seen = 0;
    bench.puppet.on("request_headers", function* (guest) {
      if (seen++ === 0) assert.equal(yield add(guest, [["x-one", "1"]]), abi.OK);
      return 0;
    });
    const first = bench.exchange([module]);
    first.chain.requestHead(true);
    first.chain.close();
    const second = bench.exchange([module]);
    second.chain.requestHead(true);
    second.respond(200, [], true);
    assert.deepEqual(second.response?.headers.entries(), []);
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("what could split or frame a message is left out of the answer", async () => {
    const fields = await answerOf(function* (guest) {
      const pairs: Pairs = [
        ["x-split", "a\r\nb: c"],
        ["x-nul", "\0"],
        ["bad name", "1"],
        ["", "1"],
        [" ", "1"],
        ["transfer-encoding", "chunked"],
        ["connection", "x"],
        ["content-length", "1, 2"],
        [":status", "500"],
        ["x-good", "1"],
      ];
      assert.equal(yield add(guest, pairs), abi.OK);
      return 0;
    });
    assert.deepEqual(fields, [
      ["a", "b"],
      ["x-good", "1"],
    ]);
  });

  test("pairs that do not fit their size are refused; so is what is over the budget", async () => {
    const fields = await answerOf(function* (guest) {
      const [at, size] = guest.putPairs([["x-a", "1"]]);
      assert.equal(yield call(guest, ADD, at, size - 1), abi.BAD_ARGUMENT);
      assert.equal(yield call(guest, ADD, at, 3), abi.BAD_ARGUMENT);
      assert.equal(yield call(guest, ADD, at, 0), abi.BAD_ARGUMENT);
      assert.equal(yield call(guest, ADD, -4, 8), abi.INVALID_MEMORY_ACCESS);
      const many = Buffer.alloc(64);
      many.writeUInt32LE(0xffff_ffff, 0);
      assert.equal(yield call(guest, ADD, guest.put(many), 64), abi.BAD_ARGUMENT);
      assert.equal(yield add(guest, [["x-large", "v".repeat(1000)]]), abi.INTERNAL_FAILURE);
      assert.equal(yield add(guest, [["x-small", "v"]]), abi.OK);
      return 0;
    });
    assert.deepEqual(fields, [
      ["a", "b"],
      ["x-small", "v"],
    ]);
  });

  test("a counter in the filter's memory: what it grew by is added when metrics are read, when it traps and at the end", async () => {
    const bench = new FilterBench();
    const cell = 8_000;
    let statuses: number[] = [];
    bench.puppet.on("configure", function* (guest) {
      const name = guest.put("hits");
      assert.equal(yield guest.host("proxy_define_metric", 0, name, 4, OUT_A), abi.OK);
      const id = guest.u32(OUT_A);
      assert.equal(yield guest.host("proxy_define_metric", 1, name, 4, OUT_A), abi.OK);
      const gauge = guest.u32(OUT_A);
      const map = (metric: number, at: number, size = 8): Command => {
        const bytes = Buffer.alloc(8);
        bytes.writeUInt32LE(metric, 0);
        bytes.writeUInt32LE(at, 4);
        return call(guest, MAP, guest.put(bytes), size);
      };
      statuses = [yield map(id, cell, 4), yield map(gauge, cell), yield map(99, cell), yield map(id, 0xffff_fffc)];
      assert.equal(yield map(id, cell), abi.OK);
      return 1;
    });
    bench.puppet.on("request_headers", function* (guest) {
      guest.memory.writeBigUInt64LE(guest.memory.readBigUInt64LE(cell) + 3n, cell);
      yield guest.host("proxy_get_metric", 1, OUT_C);
      assert.equal(guest.u64(OUT_C), guest.memory.readBigUInt64LE(cell));
      return 0;
    });
    bench.puppet.on("response_headers", function* (guest) {
      guest.memory.writeBigUInt64LE(0xffff_ffff_ffff_ffffn, cell);
      yield guest.host("proxy_get_metric", 1, OUT_C);
      guest.memory.writeBigUInt64LE(5n, cell);
      yield guest.host("trap");
      return 0;
    });
    const module = await bench.load();
    assert.deepEqual(statuses, [abi.BAD_ARGUMENT, abi.NOT_FOUND, abi.NOT_FOUND, abi.INVALID_MEMORY_ACCESS]);
    const first = bench.exchange([module]);
    first.chain.requestHead(true);
    assert.equal(bench.metrics.read(1), 3);
    bench.metrics.pull();
    assert.equal(bench.metrics.read(1), 3);
    assert.equal(first.respond(500, [], true), "failed");
    assert.deepEqual(bench.puppet.errors, []);
    assert.equal(bench.metrics.read(1), 8);
    first.chain.close();
    module.dispose();
    assert.equal(bench.metrics.pulls.size, 0);
  });

  test("a host that reads no counters says so, and the filter counts by calls", async () => {
    const bench = new FilterBench();
    Object.defineProperty(bench.metrics, "onPull", { value: undefined });
    let status = -1;
    bench.puppet.on("configure", function* (guest) {
      yield guest.host("proxy_define_metric", 0, guest.put("hits"), 4, OUT_A);
      status = yield call(guest, MAP, OUT_A, 8);
      return 1;
    });
    await bench.load();
    assert.equal(status, abi.NOT_FOUND);
  });
});
