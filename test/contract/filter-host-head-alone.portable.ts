import assert from "node:assert/strict";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { CONTINUE, type LocalResponse, PAUSE, PAUSE_HEAD, type Verdict } from "../../src/filters/contract.ts";
import { FakeFilter } from "../kit/fake-filter.ts";
import { FilterBench, settle } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

// `spec.pauseHolds: head`: a filter that pauses at a head sees the body meanwhile, and its first body callback that continues lets both go.

const holdHead = (): Verdict => PAUSE_HEAD;
const pause = (): Verdict => PAUSE;
const untilEnd = (_filter: FakeFilter, end: boolean): Verdict => (end ? CONTINUE : PAUSE);
const bytes = latin1Bytes;
const denied: LocalResponse = {
  ...{ kind: "respond", status: 403, headers: new HeaderBlock(), body: bytes("no") },
  ...{ grpcStatus: -1, details: "" },
};

describe("FilterChain: a head that is held alone", () => {
  test("the body is collected behind it; at its end both go on, in both directions", async () => {
    for (const direction of ["request", "response"] as const) {
      const bench = new FilterBench();
      const seen: string[] = [];
      const holder = new FakeFilter("a", seen, { [`${direction}Head`]: holdHead, [`${direction}Data`]: untilEnd });
      const other = new FakeFilter("b", seen);
      const exchange = bench.exchange(direction === "request" ? [holder, other] : [other, holder]);
      const { chain } = exchange;
      if (direction === "request") assert.equal(chain.requestHead(false), "held");
      else {
        chain.requestHead(true);
        seen.length = 0;
        exchange.respond(200, [], false);
      }
      const give = (text: string): string =>
        direction === "request" ? chain.requestData(bytes(text), false) : chain.responseData(bytes(text), false);
      assert.deepEqual([give("x"), give("y")], ["held", "held"]);
      assert.equal(direction === "request" ? chain.requestEnd(undefined) : chain.responseEnd(undefined), "held");
      assert.deepEqual(exchange.events, []);
      await settle();
      assert.deepEqual(seen, [
        `a ${direction}Head`,
        `a ${direction}Data "x"`,
        `a ${direction}Data "xy"`,
        `a ${direction}Data "xy" end`,
        `b ${direction}Head`,
        `b ${direction}Data "xy" end`,
      ]);
      assert.deepEqual(exchange.events, [`${direction} head "xy" end`]);
    }
  });

  test("the first piece that continues lets the head go; what comes in the same moment follows through the same filter", async () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { requestHead: holdHead });
    const exchange = bench.exchange([a, new FakeFilter("b", seen)]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(bytes("1"), false), "held");
    assert.equal(exchange.chain.requestData(bytes("2"), false), "held");
    assert.equal(exchange.chain.requestEnd(undefined), "held");
    await settle();
    assert.deepEqual(seen, [
      "a requestHead",
      'a requestData "1"',
      "b requestHead",
      'b requestData "1"',
      'a requestData "2" end',
      'b requestData "2" end',
    ]);
    assert.deepEqual(exchange.events, ["pause request", 'request head "1"', 'request "2" end', "resume request"]);
    assert.equal(exchange.chain.requestData(bytes("3"), false), "forward");
  });

  test("what it changes in the body goes on, and trailers behind it", async () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { requestHead: holdHead, requestData: pause });
    const exchange = bench.exchange([a, new FakeFilter("b", seen)]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(bytes("secret"), false);
    a.exchange?.body("request").replace(0, 6, bytes("gone"));
    assert.equal(exchange.chain.requestEnd(HeaderBlock.from([["t", "1"]])), "held");
    await settle();
    assert.deepEqual(seen.slice(2), ["a requestTrailers", "b requestHead", 'b requestData "gone"', "b requestTrailers"]);
    assert.deepEqual(exchange.events, ['request head "gone" end']);
  });

  test("held beyond the body's end, `resume` lets everything go, and nothing is shown twice", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { requestHead: holdHead, requestData: pause, requestTrailers: pause });
    const exchange = bench.exchange([a, new FakeFilter("b", seen)]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(bytes("x"), false);
    exchange.chain.requestEnd(HeaderBlock.from([["t", "1"]]));
    a.resume("request");
    a.resume("request");
    assert.deepEqual(seen.slice(3), ["b requestHead", 'b requestData "x"', "b requestTrailers"]);
    assert.deepEqual(exchange.events, ['request head "x" end']);
  });

  test("it may answer, also when the answer of the upstream is at hand; a failure of it counts as ever", async () => {
    const bench = new FilterBench();
    const request = bench.exchange([new FakeFilter("a", [], { requestHead: holdHead, requestData: () => denied })]);
    request.chain.requestHead(false);
    assert.equal(request.chain.requestData(bytes("x"), false), "respond");
    const response = bench.exchange([new FakeFilter("a", [], { responseHead: holdHead, responseData: () => denied })]);
    response.chain.requestHead(true);
    response.respond(200, [], false);
    assert.equal(response.chain.responseData(bytes("x"), false), "respond");
    for (const onFailure of ["closed", "open"] as const) {
      const fail = (): Verdict => ({ kind: "fail", reason: "broke" });
      const filter = new FakeFilter("a", [], { requestHead: holdHead, requestData: fail }, { onFailure });
      const exchange = bench.exchange([filter]);
      exchange.chain.requestHead(false);
      assert.equal(exchange.chain.requestData(bytes("x"), false), onFailure === "closed" ? "failed" : "held");
      await settle();
      assert.deepEqual(exchange.events, onFailure === "closed" ? [] : ['request head "x"']);
    }
  });

  test("its deadline runs when nothing more can come from the peer: with a head that is all, or behind the end", () => {
    for (const whole of [true, false]) {
      const bench = new FilterBench();
      const change = { budget: { pauseMs: 1_000 } };
      const exchange = bench.exchange([new FakeFilter("a", [], { requestHead: holdHead, requestData: pause }, change)]);
      exchange.chain.requestHead(whole);
      if (!whole) {
        exchange.chain.requestData(bytes("x"), false);
        bench.clock.advance(5_000);
        assert.deepEqual(exchange.events, []);
        exchange.chain.requestEnd(undefined);
      }
      bench.clock.advance(2_000);
      assert.deepEqual(exchange.events, ["fail filter_timeout"]);
    }
  });

  test("the buffer is bounded; a filter that wants no body holds it unseen, like every pause", () => {
    const bench = new FilterBench();
    const small = { budget: { bufferBytes: 2 } };
    const full = bench.exchange([new FakeFilter("a", [], { requestHead: holdHead, requestData: pause }, small)]);
    full.chain.requestHead(false);
    assert.equal(full.chain.requestData(bytes("xy"), false), "held");
    assert.equal(full.chain.requestData(bytes("z"), false), "failed");
    assert.equal(full.chain.failure?.code, "filter_body_too_large");
    const seen: string[] = [];
    const blind = new FakeFilter("a", seen, { requestHead: holdHead }, {}, false);
    const exchange = bench.exchange([blind]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(bytes("xy"), true), "held");
    blind.resume("request");
    assert.deepEqual([seen, exchange.events], [["a requestHead"], ['request head "xy" end']]);
  });

  test("an exchange that ends in the very moment of letting go hears nothing more", async () => {
    const bench = new FilterBench();
    const exchange = bench.exchange([new FakeFilter("a", [], { requestHead: holdHead })]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(bytes("x"), true);
    exchange.chain.close();
    await settle();
    assert.deepEqual(exchange.events, []);
    assert.equal(latin1Text(exchange.chain.data), "");
  });

  test("trailers let nothing go of a filter that has no callback for them", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const deaf = new FakeFilter("a", seen, { requestHead: holdHead }, { budget: { pauseMs: 1_000 } }, false, false);
    const exchange = bench.exchange([deaf]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestEnd(HeaderBlock.from([["t", "1"]])), "held");
    bench.clock.advance(500);
    assert.deepEqual([seen, exchange.events], [["a requestHead"], []]);
    bench.clock.advance(1_000);
    assert.deepEqual(exchange.events, ["fail filter_timeout"]);
  });

  test("a filter that sees nothing of what follows is waited for from the head on: the peer that is told to stop can end nothing", () => {
    for (const direction of ["request", "response"] as const) {
      const bench = new FilterBench();
      const change = { budget: { pauseMs: 1_000 } };
      const exchange = bench.exchange([new FakeFilter("a", [], { [`${direction}Head`]: holdHead }, change, false, false)]);
      const { chain } = exchange;
      if (direction === "request") {
        chain.requestHead(false);
        assert.equal(chain.requestData(bytes("x"), false), "held");
      } else {
        chain.requestHead(true);
        exchange.respond(200, [], false);
        assert.equal(chain.responseData(bytes("x"), false), "held");
      }
      bench.clock.advance(500);
      assert.deepEqual(exchange.events, [`pause ${direction}`]);
      bench.clock.advance(1_000);
      assert.equal(exchange.events[1], "fail filter_timeout");
    }
  });

  test("one that sees only trailers gets them: the body before them is collected, within the budget", async () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const change = { budget: { pauseMs: 1_000, bufferBytes: 2 } };
    const made = () => bench.exchange([new FakeFilter("a", seen, { requestHead: holdHead }, change, false)]);
    const exchange = made();
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(bytes("x"), false), "held");
    bench.clock.advance(5_000);
    assert.equal(exchange.chain.requestEnd(HeaderBlock.from([["t", "1"]])), "held");
    await settle();
    assert.deepEqual([seen, exchange.events], [["a requestHead", "a requestTrailers"], ['request head "x" end']]);
    const full = made();
    full.chain.requestHead(false);
    assert.equal(full.chain.requestData(bytes("xyz"), false), "failed");
    const late = made();
    late.chain.requestHead(false);
    late.chain.requestData(bytes("x"), true);
    bench.clock.advance(2_000);
    assert.deepEqual(late.events, ["fail filter_timeout"]);
  });
});
