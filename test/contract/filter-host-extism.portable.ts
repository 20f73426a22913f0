import assert from "node:assert/strict";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { answering, buildPlugin, ExtismBench, PDK_ACTOR } from "../kit/extism.ts";
import { settle } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

const json = (value: unknown): string => JSON.stringify(value);

/** A plug-in that answers the same to every request, and what becomes of one. */
async function inRequest(answer: unknown, change: Parameters<ExtismBench["load"]>[1] = {}) {
  const bench = new ExtismBench();
  const module = await bench.load(answering(typeof answer === "string" ? answer : json(answer)), change);
  const exchange = bench.exchange([module]);
  return { bench, module, exchange, result: exchange.chain.requestHead(true) };
}

describe("extism: a plug-in by the Rust PDK", () => {
  test("reads what it is given in both directions, writes, and keeps a state", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(PDK_ACTOR, { settings: json({ greeting: "hello" }) });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.equal(exchange.request.headers.get("x-seen"), "hello test none");
    assert.equal(exchange.respond(204, [["content-type", "a/b"]], true), "forward");
    assert.equal(exchange.response?.headers.get("x-seen"), "204 a/b none mine");
  });

  test("configuration, variables and log", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(PDK_ACTOR, { settings: json({ count: 1, deny: "/cart?a=2" }) });
    for (const count of [1, 2, 3]) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      assert.equal(exchange.request.headers.get("x-seen"), `test none ${count}`);
      exchange.chain.close();
    }
    const denied = bench.exchange([module], { query: "a=2" });
    assert.equal(denied.chain.requestHead(true), "respond");
    assert.equal(denied.chain.localResponse?.status, 403);
    assert.deepEqual(denied.chain.localResponse?.headers.entries(), [["x-by", "extism"]]);
    assert.equal(latin1Text(denied.chain.localResponse?.body ?? new Uint8Array(0)), "denied");
    assert.deepEqual(bench.log.lines, ["info denied /cart?a=2"]);
  });

  test("an error that it returns is the exchange's, in its own words; the instance lives on", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(PDK_ACTOR, { settings: json({ deny: "x" }) });
    const exchange = bench.exchange([module], { path: "/error", query: undefined });
    assert.equal(exchange.chain.requestHead(true), "failed");
    assert.match(String(exchange.chain.failure), /the filter failed: an error of the plug-in/);
    assert.deepEqual([module.status().traps, module.status().instances], [0, 1]);
  });

  test("settings that it refuses keep it from loading, with its reason", async () => {
    await assert.rejects(new ExtismBench().load(PDK_ACTOR, { settings: json({ refuse: 1 }) }), /these settings are not for me/);
  });

  test("memory stays as it is over many exchanges", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(PDK_ACTOR, { settings: json({ count: "yes" }) });
    const run = (times: number): void => {
      for (let i = 0; i < times; i++) {
        const exchange = bench.exchange([module]);
        assert.equal(exchange.chain.requestHead(true), "forward");
        exchange.chain.close();
      }
    };
    run(100);
    const before = module.status().memoryBytes;
    run(2_000);
    assert.equal(module.status().memoryBytes, before);
    assert.equal(module.status().contexts, 0);
  });
});

describe("extism: answers", () => {
  test("fields are removed, set and added, in this order; the request line is written", async () => {
    const answer = {
      headers: { remove: ["User-Agent", "none"], set: [["x-many", "3"]], add: [["X-Many", "4"]] },
      ...{ method: "PUT", path: "/a?b", authority: "Other.example" },
    };
    const { exchange, result } = await inRequest(answer);
    assert.equal(result, "forward");
    assert.deepEqual(exchange.request.headers.entries(), [
      ["x-many", "3"],
      ["x-many", "4"],
    ]);
    const { method, path, query, authority } = exchange.request;
    assert.deepEqual([method, path, query, authority], ["PUT", "/a", "b", "other.example"]);
    assert.equal(exchange.chain.targetChanged, true);
  });

  test("an empty object and no output leave all as it is", async () => {
    for (const answer of ["{}", ""]) {
      const { exchange, result } = await inRequest(answer);
      assert.equal(result, "forward");
      assert.equal(exchange.request.headers.length, 3);
    }
  });

  test("a response of its own; framing fields and broken ones are left out", async () => {
    const headers = [
      ["x-why", "no"],
      ["connection", "close"],
      ["content-length", "9"],
      ["x-split", "a\nb"],
    ];
    const { exchange, result } = await inRequest({ respond: { status: 403, headers, bodyBase64: "/wA=" } });
    assert.equal(result, "respond");
    assert.deepEqual(exchange.chain.localResponse?.headers.entries(), [["x-why", "no"]]);
    assert.deepEqual([...(exchange.chain.localResponse?.body ?? [])], [0xff, 0]);
  });

  const refused: readonly (readonly [unknown, RegExp])[] = [
    ["no json", /is no JSON/],
    ["[]", /is no object/],
    ["null", /is no object/],
    [{ repsond: {} }, /unknown member "repsond"/],
    [{ headers: { put: [] } }, /unknown member "put"/],
    [{ headers: [] }, /headers is no object/],
    [{ headers: { set: [["a"]] } }, /no list of pairs/],
    [{ headers: { set: [["a", 1]] } }, /no list of pairs/],
    [{ headers: { set: [["x-split", "a\r\nb"]] } }, /"x-split" may not be written so/],
    [{ headers: { set: [["x-wide", "\u010d\u010a"]] } }, /"x-wide" may not be written so/],
    [{ headers: { add: [["transfer-encoding", "chunked"]] } }, /may not be written so/],
    [{ headers: { add: [["host", "a"]] } }, /may not be written so/],
    [{ headers: { remove: [1] } }, /no list of names/],
    [{ method: "A B" }, /method may not be written so/],
    [{ path: "relative" }, /path may not be written so/],
    [{ method: "PUT", authority: "a@b" }, /authority may not be written so/],
    [{ respond: { status: 199 } }, /status is none of 200 to 599/],
    [{ respond: { status: 200, body: "a", bodyBase64: "YQ==" } }, /exclude each other/],
    [{ respond: { status: 200, bodyBase64: "a" } }, /is no base64/],
    [{ state: "x".repeat(4_097) }, /state is longer than 4096/],
    [{ status: 200 }, /unknown member "status"/],
    [{ fail: "no opinion" }, /the filter failed: no opinion/],
  ];
  for (const [answer, words] of refused) {
    test(`refused: ${typeof answer === "string" ? answer : json(answer).slice(0, 60)}`, async () => {
      const { exchange, result, module } = await inRequest(answer);
      assert.equal(result, "failed");
      assert.match(String(exchange.chain.failure), words);
      assert.deepEqual([exchange.request.method, exchange.request.path, exchange.request.headers.length], ["GET", "/cart", 3]);
      assert.equal(module.status().traps, 0);
      const open = await inRequest(answer, { onFailure: "open" });
      assert.equal(open.result, "forward");
    });
  }

  test("a state of the longest length is kept", async () => {
    assert.equal((await inRequest({ state: "x".repeat(4_096) })).result, "forward");
  });

  test("what it answers in one exchange is bounded at its edge", async () => {
    const answer = json({ headers: { set: [["x-a", "1"]] } });
    assert.equal((await inRequest(answer, { budget: { outputBytes: answer.length } })).result, "forward");
    const { result, exchange } = await inRequest(answer, { budget: { outputBytes: answer.length - 1 } });
    assert.equal(result, "failed");
    assert.match(String(exchange.chain.failure), /larger than its budget/);
  });

  test("a status and fields of an answer are changed; the request is then out of reach", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(answering(json({ status: 404, headers: { set: [["server", "x"]] } }), "on_response"));
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    assert.equal(exchange.respond(200, [["server", "up"]], true), "forward");
    assert.deepEqual([exchange.response?.status, exchange.response?.headers.get("server")], [404, "x"]);
    const late = await bench.load(answering(json({ path: "/late" }), "on_response"));
    const other = bench.exchange([late]);
    other.chain.requestHead(true);
    assert.equal(other.respond(200, [], true), "failed");
    assert.equal(other.request.path, "/cart");
  });
});

describe("extism: bodies", () => {
  test("a body comes as a whole and is replaced; its length is told anew", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(answering(json({ body: "gr\u00fc\u00df" }), "on_request_body", "on_response_body"));
    const exchange = bench.exchange([module], { headers: HeaderBlock.from([["content-length", "4"]]) });
    assert.equal(exchange.chain.requestHead(false), "forward");
    assert.equal(exchange.request.headers.has("content-length"), false);
    assert.equal(exchange.chain.requestData(latin1Bytes("ab"), false), "held");
    assert.equal(exchange.chain.requestData(latin1Bytes("cd"), true), "forward");
    assert.equal(latin1Text(exchange.chain.data), "gr\xc3\xbc\xc3\x9f");
    assert.equal(exchange.respond(200, [["content-length", "2"]], false), "forward");
    assert.equal(exchange.response?.headers.has("content-length"), false);
    assert.equal(exchange.chain.responseData(latin1Bytes("xy"), true), "forward");
    assert.equal(latin1Text(exchange.chain.data), "gr\xc3\xbc\xc3\x9f");
  });

  test("a body before trailers as well; one that is empty is not shown", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(answering(json({ bodyBase64: "TmV3" }), "on_request_body"));
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(latin1Bytes("ab"), false), "held");
    assert.equal(exchange.chain.requestEnd(HeaderBlock.from([["x-sum", "1"]])), "forward");
    assert.equal(latin1Text(exchange.chain.data), "New");
    const empty = bench.exchange([module]);
    empty.chain.requestHead(false);
    assert.equal(empty.chain.requestData(new Uint8Array(0), true), "forward");
    assert.equal(empty.chain.data.byteLength, 0);
    assert.equal(module.status().calls, 1);
  });

  test("a body is refused by an answer of its own, and one that is too large for the filter before it sees it", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(answering(json({ respond: { status: 422 } }), "on_request_body"), {
      budget: { bufferBytes: 4 },
    });
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(latin1Bytes("abcd"), true), "respond");
    const large = bench.exchange([module]);
    large.chain.requestHead(false);
    assert.equal(large.chain.requestData(latin1Bytes("abc"), false), "held");
    assert.equal(large.chain.requestData(latin1Bytes("de"), true), "failed");
    await settle();
    assert.equal(module.status().calls, 1);
  });
});

/** Its input in a new block, whose offset is on the stack; the length is that of the input. */
const COPY = `$input_length $alloc local.set 0
  block loop
    local.get 1 i64.extend_i32_u $input_length i64.ge_u br_if 1
    local.get 0 local.get 1 i64.extend_i32_u i64.add local.get 1 i64.extend_i32_u $input_load_u8 $store_u8
    local.get 1 i32.const 1 i32.add local.set 1 br 0
  end end
  local.get 0`;

describe("extism: plug-ins that were made for other hosts", () => {
  const transform = (named: unknown) => ({ settings: json({ "selvedge.transform": named }) });

  async function bodies(wasm: Parameters<ExtismBench["load"]>[0], change: Parameters<ExtismBench["load"]>[1]) {
    const bench = new ExtismBench();
    const exchange = bench.exchange([await bench.load(wasm, change)], { headers: HeaderBlock.from([["content-length", "3"]]) });
    exchange.chain.requestHead(false);
    const result = exchange.chain.requestData(Uint8Array.of(0xff, 0, 0x41), true);
    const request = [...exchange.chain.data];
    if (result === "forward") {
      exchange.respond(200, [["content-length", "3"]], false);
      exchange.chain.responseData(latin1Bytes("abc"), true);
    }
    return { exchange, result, request, response: latin1Text(exchange.chain.data) };
  }

  test("a function that is named gets a body as it is, and its output is the new one, byte for byte", async () => {
    const wasm = buildPlugin({
      text: "{no json",
      exports: { echo: `${COPY} $input_length $output_set i32.const 0`, other: "$text i64.const 8 $output_set i32.const 0" },
    });
    const { request, response, exchange } = await bodies(wasm, transform({ request: "echo", response: "other" }));
    assert.deepEqual([request, response], [[0xff, 0, 0x41], "{no json"]);
    assert.equal(exchange.request.headers.has("content-length"), false);
    assert.equal(exchange.response?.headers.has("content-length"), false);
  });

  test("one that leaves nothing leaves nothing; one that fails lets nothing pass", async () => {
    const wasm = buildPlugin({ exports: { clear: "i32.const 0", fail: "i32.const 1" } });
    const { request, response } = await bodies(wasm, transform({ request: "clear", response: "clear" }));
    assert.deepEqual([request, response], [[], ""]);
    assert.equal((await bodies(wasm, transform({ request: "fail" }))).result, "failed");
  });

  test("what it makes of bodies is bounded at its edge, and needs the capability", async () => {
    const wasm = answering("12345678", "eight");
    const named = transform({ request: "eight" });
    assert.equal((await bodies(wasm, { ...named, budget: { outputBytes: 8 } })).result, "forward");
    assert.equal((await bodies(wasm, { ...named, budget: { outputBytes: 7 } })).result, "failed");
    const readOnly = { ...named, capabilities: { bodies: { request: "read", response: "read" } as const } };
    const { result, exchange } = await bodies(wasm, readOnly);
    assert.equal(result, "failed");
    assert.match(String(exchange.chain.failure), /may not change bodies/);
    const none = { ...named, capabilities: { bodies: { request: "none", response: "none" } as const } };
    await assert.rejects(bodies(wasm, none), /function for bodies of the request: grant them by capabilities.bodies.request/);
  });

  const WRONG: readonly (readonly [unknown, RegExp])[] = [
    [{ request: "none" }, /exports no function "none", which selvedge.transform names/],
    [{ requst: "eight" }, /selvedge.transform has an unknown member "requst"/],
    [{ request: 8 }, /selvedge.transform.request is no name/],
    ["eight", /selvedge.transform is no object/],
  ];
  test("what is misspelled is refused when it is loaded", async () => {
    for (const [named, words] of WRONG) await assert.rejects(bodies(answering("x", "eight"), transform(named)), words);
  });
});
