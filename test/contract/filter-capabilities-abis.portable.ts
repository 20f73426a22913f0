import assert from "node:assert/strict";
import type { FilterCapabilities } from "../../src/config/snapshot.ts";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { ModuleAssembler } from "../kit/assembler.ts";
import { ComponentBench } from "../kit/component.ts";
import { answering, buildPlugin, ExtismBench } from "../kit/extism.ts";
import type { FilterBench, TestExchange } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

/** The hostile filters of filter-capabilities.portable.ts as components and as plug-ins of Extism. */

type Capabilities = Partial<FilterCapabilities>;

/** What a resource that says nothing grants, and what the actor cannot be linked without. */
const DEFAULTS: Capabilities = {
  headers: { request: { read: ["*"], write: ["*"] }, response: { read: ["*"], write: ["*"] } },
  attributes: { read: ["*"], write: ["*"] },
};
const HEADERS = (): HeaderBlock =>
  HeaderBlock.from([
    ["user-agent", "test"],
    ["authorization", "secret"],
    ["cookie", "secret"],
  ]);

/** A whole exchange; what the upstream gets stands in `request`. */
function run(exchange: TestExchange): string {
  const { chain } = exchange;
  const result = chain.requestHead(false);
  if (result !== "forward") return result;
  chain.requestData(latin1Bytes("request"), true);
  const answered = exchange.respond(200, [["set-cookie", "secret"]], false);
  if (answered === "forward") chain.responseData(latin1Bytes("response"), true);
  return answered;
}

const deniedOf = ({ metrics }: Pick<FilterBench, "metrics">): Record<string, number> => Object.fromEntries(metrics.denied);

describe("capabilities: components", () => {
  async function play(capabilities: Capabilities, lines: Readonly<Record<string, string>>) {
    const bench = new ComponentBench();
    const module = await bench.actor(lines, { capabilities: { callouts: ["default/callee"], ...DEFAULTS, ...capabilities } });
    const exchange = bench.exchange([module], { headers: HEADERS() });
    return { bench, exchange, result: run(exchange), log: bench.log.lines.map((line) => line.replace(/^info /, "")) };
  }

  test("credentials, and attributes that show them, are not there by default; one that is named is", async () => {
    const asked = "show authorization; values cookie; all; attribute request headers cookie; attribute request useragent";
    const { log, bench } = await play({}, { "request-head": asked, "response-head": "show set-cookie; all" });
    assert.deepEqual(log, [
      ...["show authorization: none", "values cookie: ", "all: user-agent=test", "attribute request headers cookie: none"],
      ...["attribute request useragent: test", "show set-cookie: none", "all: "],
    ]);
    assert.deepEqual(deniedOf(bench), { headers: 4 });
    const headers = { request: { read: ["cookie"], write: [] }, response: { read: [], write: [] } };
    const named = await play({ headers }, { "request-head": "show cookie; show user-agent; line", "response-head": "status" });
    assert.deepEqual(named.log, ["show cookie: secret", "show user-agent: none", "line:    ", "status: 0"]);
  });

  test("where a request goes is not written by default, nor are credentials; both are when they are named", async () => {
    const lines = {
      "request-head": "set-path /evil; set-authority evil; set-method POST; set x-forwarded-for 6; remove cookie; set x-a 1",
      "response-head": "add set-cookie evil; set-status 201",
    };
    const { log, exchange, bench } = await play({}, lines);
    assert.deepEqual(
      log.map((line) => line.split(": ")[1]),
      [...new Array<string>(5).fill("invalid"), "ok", "invalid", "ok"],
    );
    const { request, response } = exchange;
    assert.equal(`${request.method} ${request.authority} ${request.path}`, "GET shop.example /cart");
    assert.deepEqual(request.headers.entries().slice(1), [
      ["authorization", "secret"],
      ["cookie", "secret"],
      ["x-a", "1"],
    ]);
    assert.deepEqual(response?.headers.getAll("set-cookie"), ["secret"]);
    assert.deepEqual(deniedOf(bench), { headers: 6 });
    const headers = { request: { read: [], write: [":path", "cookie"] }, response: { read: [], write: ["set-cookie"] } };
    const granted = await play({ headers }, lines);
    assert.equal(granted.exchange.request.path, "/evil");
    assert.equal(granted.exchange.request.method, "GET");
    assert.equal(granted.exchange.request.headers.has("cookie"), false);
    assert.deepEqual(granted.exchange.response?.headers.getAll("set-cookie"), ["secret", "evil"]);
    assert.equal(granted.exchange.response?.status, 200);
  });

  test("bodies: one that asks for what it does not get is refused; read changes nothing", async () => {
    const lines = { "request-body": "read 0; replace 0 9 evil", "response-body": "replace 0 9 evil" };
    await assert.rejects(
      play({ bodies: { request: "none", response: "write" } }, lines),
      /it asks for bodies of the request: grant them by capabilities.bodies.request/,
    );
    const { log, exchange, bench } = await play({ bodies: { request: "read", response: "read" } }, lines);
    assert.deepEqual(log, ["read 0: request", "replace 0 9 evil: invalid", "replace 0 9 evil: invalid"]);
    assert.equal(latin1Text(exchange.chain.data), "response");
    assert.deepEqual(deniedOf(bench), { bodies: 2 });
    const granted = await play({}, lines);
    assert.equal(latin1Text(granted.exchange.chain.data), "evil");
  });

  test("an answer of its own fails the exchange when it may give none, and loses what it may not write", async () => {
    const lines = { "request-head": "respond 403 no set-cookie=evil x-a=1" };
    const { result, exchange, bench } = await play({ respond: false }, lines);
    assert.equal(result, "failed");
    assert.match(exchange.chain.failure?.detail ?? "", /capabilities.respond/);
    assert.deepEqual(deniedOf(bench), { respond: 1 });
    const granted = await play({}, lines);
    assert.deepEqual(granted.exchange.chain.localResponse?.headers.entries(), [["x-a", "1"]]);
  });

  test("log and metrics", async () => {
    const { bench } = await play({ log: false, metrics: false }, { "request-head": "show user-agent; count evil 1" });
    assert.deepEqual(bench.log.lines, []);
    assert.deepEqual(bench.metrics.names, []);
    const { log = 0, metrics = 0 } = deniedOf(bench);
    assert.deepEqual([log, metrics], [2, 1]);
  });

  test("attributes of the proxy are not forged; notes of its own are", async () => {
    const lines = { "request-head": "set-attribute selvedge.principal evil; set-attribute selvedge.log.a b" };
    const { exchange, bench } = await play({}, lines);
    assert.deepEqual([...(exchange.chain.notes ?? [])], [["a", "b"]]);
    assert.deepEqual(deniedOf(bench), { attributes: 1 });
  });

  test("random numbers that are not granted refuse it by name; calls go to granted services, so many at a time", async () => {
    await assert.rejects(play({ random: false }, {}), /selvedge:filter\/random@0.1.0: grant it by capabilities.random/);
    const calloutLimits = { "default/callee": { concurrent: 1, perSecond: 2, timeoutMs: 10, answerBytes: 1 } };
    const lines = { "request-head": "call bank /; call default/callee /; call default/callee /" };
    const { exchange, bench } = await play({ calloutLimits }, lines);
    assert.deepEqual(
      exchange.callouts.map(({ request }) => [request.service, request.timeoutMs, request.answerBytes]),
      [["default/callee", 10, 1]],
    );
    assert.deepEqual(deniedOf(bench), { callouts: 2 });
    exchange.chain.close();
    assert.equal(exchange.callouts[0]?.cancelled, true);
  });

  test("nats: without a grant it is refused by name; with one it publishes there, so large and so many", async () => {
    const nats = { publish: ["shop.orders"], perSecond: 1, payloadBytes: 5 };
    await assert.rejects(
      play({ nats: { ...nats, publish: [] } }, {}),
      /selvedge:filter\/nats@0.1.0: grant it by capabilities.nats.publish/,
    );
    const asked = "publish other x; publish shop.orders longer; publish shop.orders hello; publish shop.orders again";
    const { log, bench } = await play({ nats }, { "request-head": asked });
    assert.deepEqual(
      log.map((line) => line.split(": ")[1]),
      ["not-granted", "too-large", "ok", "too-many"],
    );
    assert.deepEqual(bench.published, ["default/actor shop.orders hello"]);
    assert.deepEqual(deniedOf(bench), { nats: 2 });
  });
});

describe("capabilities: plug-ins of Extism", () => {
  async function play(capabilities: Capabilities, wasm: Uint8Array<ArrayBuffer>) {
    const bench = new ExtismBench();
    const module = await bench.load(wasm, { capabilities: { ...DEFAULTS, ...capabilities } });
    const exchange = bench.exchange([module], { headers: HEADERS() });
    return { bench, exchange, result: run(exchange) };
  }
  const json = JSON.stringify;
  /** Logs what it is given. */
  const curious = (name: string): Uint8Array<ArrayBuffer> =>
    buildPlugin({
      exports: {
        [name]: `$input_length $alloc local.set 0
          block loop
            local.get 1 i64.extend_i32_u $input_length i64.ge_u br_if 1
            local.get 0 local.get 1 i64.extend_i32_u i64.add local.get 1 i64.extend_i32_u $input_load_u8 $store_u8
            local.get 1 i32.const 1 i32.add local.set 1 br 0
          end end
          local.get 0 $log_info i32.const 0`,
      },
    });

  test("credentials are not in what it is given; one that is named is", async () => {
    for (const name of ["on_request", "on_response"]) {
      const { bench } = await play({}, curious(name));
      assert.equal(bench.log.lines.length, 1);
      assert.ok(!bench.log.lines.some((line) => line.includes("secret")));
    }
    const headers = { request: { read: ["cookie"], write: [] }, response: { read: [], write: [] } };
    const { bench } = await play({ headers, attributes: { read: [], write: [] } }, curious("on_request"));
    const given = JSON.parse((bench.log.lines[0] ?? "").replace(/^info /, ""));
    assert.deepEqual(given, {
      method: "",
      scheme: "",
      authority: "",
      path: "",
      headers: [["cookie", "secret"]],
      end: false,
      source: "",
    });
  });

  const HOSTILE: readonly (readonly [export_: string, answer: object, names: string])[] = [
    ["on_request", { path: "/evil" }, ":path"],
    ["on_request", { method: "POST" }, ":method"],
    ["on_request", { authority: "evil" }, ":authority"],
    ["on_request", { headers: { set: [["x-forwarded-for", "6"]] } }, "x-forwarded-for"],
    ["on_request", { headers: { remove: ["cookie"] } }, "cookie"],
    ["on_request", { headers: { set: [["x-a", "1"]], add: [["authorization", "evil"]] } }, "authorization"],
    ["on_response", { headers: { add: [["set-cookie", "evil"]] } }, "set-cookie"],
  ];
  test("what it may not write fails the exchange before any of it happens", async () => {
    for (const [name, answer, field] of HOSTILE) {
      const { bench, exchange, result } = await play({}, answering(json(answer), name));
      assert.equal(result, "failed", field);
      assert.ok(String(exchange.chain.failure?.detail).includes(`it may not write "${field}"`), field);
      const { request, response } = exchange;
      assert.equal(`${request.method} ${request.authority} ${request.path}`, "GET shop.example /cart");
      assert.deepEqual(request.headers.entries(), HEADERS().entries());
      if (response !== undefined) assert.deepEqual(response.headers.entries(), [["set-cookie", "secret"]]);
      assert.equal(deniedOf(bench).headers, 1);
      const all = { read: ["**"], write: ["**"] };
      const granted = await play({ headers: { request: all, response: all } }, answering(json(answer), name));
      assert.equal(granted.result, "forward", field);
    }
  });

  test("bodies: one that exports their functions without the grant is refused; read changes nothing", async () => {
    const wasm = answering(json({ body: "evil" }), "on_response_body");
    await assert.rejects(
      play({ bodies: { request: "write", response: "none" } }, wasm),
      /it has a function for bodies of the response: grant them by capabilities.bodies.response/,
    );
    const { exchange, bench } = await play({ bodies: { request: "write", response: "read" } }, wasm);
    assert.match(exchange.chain.failure?.detail ?? "", /may not change bodies/);
    assert.deepEqual(deniedOf(bench), { bodies: 1 });
    const granted = await play({}, wasm);
    assert.equal(latin1Text(granted.exchange.chain.data), "evil");
  });

  test("an answer of its own, and lines in the log", async () => {
    const wasm = answering(
      json({
        respond: {
          status: 403,
          headers: [
            ["set-cookie", "evil"],
            ["x-a", "1"],
          ],
        },
      }),
    );
    const denied = await play({ respond: false }, wasm);
    assert.equal(denied.result, "failed");
    assert.deepEqual(deniedOf(denied.bench), { respond: 1 });
    const granted = await play({}, wasm);
    assert.deepEqual(granted.exchange.chain.localResponse?.headers.entries(), [["x-a", "1"]]);
    const silent = await play({ log: false }, curious("on_request"));
    assert.deepEqual(silent.bench.log.lines, []);
    assert.deepEqual(deniedOf(silent.bench), { log: 1 });
  });

  test("random numbers: an error once it runs, unless they are granted", async () => {
    for (const random of [false, true]) {
      const module = new ModuleAssembler();
      module.importFunction("wasi_snapshot_preview1", "random_get", ["i32", "i32"], ["i32"]);
      module.memory(1, undefined, "memory");
      module.func({ name: "on_request", results: ["i32"], body: "i32.const 0 i32.const 8 call 0" });
      const { bench, exchange } = await play({ random }, module.build());
      assert.equal(/it answered 76/.test(String(exchange.chain.failure)), !random);
      assert.deepEqual(deniedOf(bench), random ? {} : { random: 1 });
    }
  });
});
