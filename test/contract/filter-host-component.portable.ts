import assert from "node:assert/strict";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { ComponentBench } from "../kit/component.ts";
import { settle } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

/** Runs one callback's script on a request head and answers what the actor said. */
async function sayInRequest(commands: string, change: Parameters<ComponentBench["actor"]>[1] = {}): Promise<string[]> {
  const bench = new ComponentBench();
  const exchange = bench.exchange([await bench.actor({ "request-head": commands }, change)]);
  exchange.chain.requestHead(false);
  return bench.said;
}

describe("component: heads", () => {
  test("a response is read and changed; the request is then out of reach", async () => {
    const bench = new ComponentBench();
    const commands =
      "status; show server; set server x; add set-cookie b=2; set-status 404; set-status 199; request-set x-late 1";
    const exchange = bench.exchange([await bench.actor({ "response-head": commands })]);
    exchange.chain.requestHead(true);
    const fields = [
      ["server", "up"],
      ["set-cookie", "a=1"],
    ] as const;
    assert.equal(exchange.respond(200, fields, true), "forward");
    assert.equal(exchange.response?.status, 404);
    assert.deepEqual(exchange.response?.headers.getAll("set-cookie"), ["a=1", "b=2"]);
    assert.equal(exchange.response?.headers.get("server"), "x");
    assert.deepEqual(bench.said.slice(-2), ["set-status 199: invalid", "request-set x-late 1: not-now"]);
    assert.equal(exchange.request.headers.has("x-late"), false);
  });

  test("what a filter may add to an exchange is bounded at its edge", async () => {
    // Name and value of 8 bytes each and 32 for the field.
    const said = await sayInRequest("add x-first1 12345678; add x-second 1234567; add x 1", { budget: { outputBytes: 96 } });
    assert.deepEqual(said, ["add x-first1 12345678: ok", "add x-second 1234567: ok", "add x 1: over-budget"]);
  });
});

describe("component: verdicts", () => {
  test("callbacks that were not asked for are not called, and bodies pass them by", async () => {
    const bench = new ComponentBench();
    const exchange = bench.exchange([await bench.actor({ "response-head": "log seen" })]);
    assert.equal(exchange.chain.requestHead(false), "forward");
    assert.equal(exchange.chain.requestData(latin1Bytes("x"), true), "forward");
    assert.deepEqual(bench.said, []);
    exchange.respond(200, [], true);
    assert.deepEqual(bench.said, ["seen"]);
  });

  test("done comes once, after everything, also for an exchange that is cut off", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "alive", done: "alive; request-set x 1" });
    for (const isLogged of [true, false]) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      if (isLogged) exchange.chain.log();
      exchange.chain.close();
    }
    const once = ["alive: 1", "alive: 0", "request-set x 1: not-now"];
    assert.deepEqual(bench.said, [...once, ...once]);
    assert.equal(module.status().contexts, 0);
  });
});

describe("component: bodies and trailers", () => {
  test("a piece is read, cut and replaced, and its source is not touched", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({
      "request-body": "length; read 0; read 1 3; read 99 1; replace 3 2 LL!; replace 0 0 <; replace 99 0 >; read 0",
    });
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(false);
    const source = latin1Bytes("hello");
    assert.equal(exchange.chain.requestData(source, false), "forward");
    assert.equal(latin1Text(exchange.chain.data), "<helLL!>");
    assert.equal(latin1Text(source), "hello");
    assert.deepEqual(bench.said.slice(0, 4), ["length: 5", "read 0: hello", "read 1 3: ell", "read 99 1: "]);
  });
});

describe("component: calls", () => {
  const answer = (status: string, body: string) => ({
    headers: HeaderBlock.from([
      [":status", status],
      ["x-said", "yes"],
    ]),
    body: latin1Bytes(body),
    trailers: undefined,
  });

  test("a request waits for an answer, is changed by it, and goes on", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "call default/callee /ask; pause", "call-answer": "set x-asked yes" });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "held");
    const [call] = exchange.callouts;
    assert.deepEqual(call?.request.headers.entries(), [
      [":method", "GET"],
      [":path", "/ask"],
      [":authority", "callee"],
      ["x-asked", "1"],
    ]);
    assert.equal(call?.request.service, "default/callee");
    call?.done(answer("200", "fine"));
    await settle();
    assert.deepEqual(exchange.events, ['request head "" end']);
    assert.equal(exchange.request.headers.get("x-asked"), "yes");
    assert.equal(bench.said.at(-2), "answer 200 x-said=yes fine");
  });

  test("calls are bounded, broken ones are refused, and those of a closed exchange are cancelled", async () => {
    const bench = new ComponentBench();
    const commands =
      "call default/callee /1; call default/callee /2 a%000ab; call default/callee /3; call default/callee /4; pause";
    const exchange = bench.exchange([await bench.actor({ "request-head": commands }, { budget: { callouts: 2 } })]);
    exchange.chain.requestHead(true);
    assert.deepEqual(
      bench.said.map((line) => line.slice(line.lastIndexOf(" ") + 1)),
      ["sent", "refused", "sent", "refused"],
    );
    exchange.chain.close();
    assert.deepEqual(
      exchange.callouts.map((call) => call.cancelled),
      [true, true],
    );
    exchange.callouts[0]?.done(answer("200", ""));
    await settle();
    assert.deepEqual(exchange.events, []);
  });
});

describe("component: what is granted", () => {
  test("time is rounded to milliseconds unless the filter has the capability", async () => {
    const bench = new ComponentBench();
    bench.clock.advance(1.5);
    const exchange = bench.exchange([await bench.actor({ "request-head": "clock" })]);
    exchange.chain.requestHead(true);
    const nanos = bench.said[0]?.split(" ").slice(1).map(BigInt) ?? [];
    assert.equal(nanos.length, 2);
    for (const each of nanos) assert.equal(each % 1_000_000n, 0n);
    const capabilities = { callouts: ["default/callee"], sharedData: undefined, rateLimit: false, clock: true };
    const exact = bench.exchange([await bench.actor({ "request-head": "clock" }, { capabilities })]);
    exact.chain.requestHead(true);
    assert.match(bench.said[1] ?? "", /1500000$/);
  });

  test("shared data is compared and set, bounded, and shared by name only", async () => {
    const bench = new ComponentBench();
    const commands =
      "shared-get k; shared-set k a; shared-get k; shared-set k b 99; shared-set k b 1; shared-get k; shared-set l c";
    const budget = { sharedDataKeys: 1 };
    const exchange = bench.exchange([await bench.actor({ "request-head": commands }, { budget })]);
    exchange.chain.requestHead(true);
    const answers = bench.said.map((line) => line.slice(line.indexOf(": ") + 2));
    assert.deepEqual(answers, ["none", "ok", "a 1", "conflict", "ok", "b 2", "full"]);
    const other = bench.exchange([await bench.actor({ "request-head": "shared-get k" }, { name: "default/other" })]);
    other.chain.requestHead(true);
    assert.equal(bench.said.at(-1), "shared-get k: none");
  });

  test("metrics of its own, within the budget, and no others", async () => {
    const bench = new ComponentBench();
    const id = bench.metrics.define("somebody", "counter", "else");
    const commands = `count seen 2; count seen 3; count other 1; increment ${id}`;
    const exchange = bench.exchange([await bench.actor({ "request-head": commands }, { budget: { metrics: 1 } })]);
    exchange.chain.requestHead(true);
    assert.deepEqual(bench.metrics.names, ["somebody counter else", "default/actor counter seen"]);
    assert.deepEqual([...bench.metrics.values.values()], [0, 5]);
    assert.deepEqual(bench.said, ["no metric"]);
  });

  test("what a language's runtime prints goes to the log, and log lines are bounded", async () => {
    const said = await sayInRequest("print a; log b; log c; log d", { budget: { logLinesPerSecond: 3 } });
    assert.deepEqual(said, ["printed a", "b", "c"]);
  });
});
