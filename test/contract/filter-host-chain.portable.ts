import assert from "node:assert/strict";
import { type Bytes, latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { CONTINUE, type LocalResponse, PAUSE, type Verdict } from "../../src/filters/contract.ts";
import { FakeFilter } from "../kit/fake-filter.ts";
import { FilterBench, settle, type TestExchange } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

const denied: LocalResponse = {
  kind: "respond",
  status: 403,
  headers: new HeaderBlock(),
  body: latin1Bytes("no"),
  grpcStatus: -1,
  details: "",
};
const pause = (): Verdict => PAUSE;
const pauseUntilEnd = (_filter: FakeFilter, end: boolean): Verdict => (end ? CONTINUE : PAUSE);
const bytes = (text: string): Bytes => latin1Bytes(text);
const data = (exchange: TestExchange): string => latin1Text(exchange.chain.data);

describe("FilterChain: order and pass-through", () => {
  test("requests in order, responses in reverse, heads, bodies, trailers, log, close", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const filters = ["a", "b"].map((name) => new FakeFilter(name, seen));
    const exchange = bench.exchange(filters);
    const { chain } = exchange;
    assert.equal(chain.requestHead(false), "forward");
    assert.equal(chain.requestData(bytes("x"), false), "forward");
    assert.equal(chain.requestEnd(HeaderBlock.from([["t", "1"]])), "forward");
    assert.equal(exchange.respond(200, [], false), "forward");
    assert.equal(chain.responseData(bytes("y"), true), "forward");
    chain.log();
    chain.close();
    chain.close();
    assert.deepEqual(seen, [
      "a requestHead",
      "b requestHead",
      'a requestData "x"',
      'b requestData "x"',
      "a requestTrailers",
      "b requestTrailers",
      "b responseHead",
      "a responseHead",
      'b responseData "y" end',
      'a responseData "y" end',
      "a log",
      "b log",
    ]);
    assert.deepEqual(
      filters.map((filter) => filter.closed),
      [1, 1],
    );
  });

  test("bytes that nobody holds or changes pass as the very same object", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    for (const wantsBodies of [true, false]) {
      const exchange = bench.exchange([new FakeFilter("a", seen, {}, {}, wantsBodies)]);
      exchange.chain.requestHead(false);
      const chunk = bytes("x".repeat(1_000_000));
      assert.equal(exchange.chain.requestData(chunk, false), "forward");
      assert.equal(exchange.chain.data, chunk);
      exchange.chain.close();
    }
    assert.equal(seen.filter((line) => line.includes("requestData")).length, 1, "a filter without body callbacks is skipped");
  });

  test("no filters at all", () => {
    const exchange = new FilterBench().exchange([]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.equal(exchange.respond(200, [], true), "forward");
  });
});

describe("FilterChain: an answer in the place of one that a filter held", () => {
  const held = () => {
    const filter = new FakeFilter("a", [], { responseHead: pause });
    const exchange = new FilterBench().exchange([filter]);
    exchange.chain.requestHead(true);
    assert.equal(exchange.respond(200, [], false), "held");
    assert.equal(filter.context !== undefined && filter.exchange?.isPaused(filter.context, "response"), true);
    assert.equal(exchange.respond(503, [], false), "forward");
    assert.equal(filter.context !== undefined && filter.exchange?.isPaused(filter.context, "response"), false);
    return { filter, exchange };
  };

  test("is not the filter's: it cannot go on with it, answer, or fail it", () => {
    for (const word of ["resume", "respond", "fail"] as const) {
      const { filter, exchange } = held();
      const context = filter.context ?? assert.fail();
      if (word === "resume") filter.resume("response");
      else if (word === "respond") filter.exchange?.respond(context, denied);
      else filter.exchange?.fail(context, "late", "failed");
      assert.deepEqual(exchange.events, [], word);
      assert.equal(exchange.chain.responseData(bytes("body"), true), "forward");
      assert.equal(data(exchange), "body");
      exchange.chain.close();
      assert.deepEqual([...filter.stats.faults], word === "fail" ? [["failed", 1]] : []);
      assert.equal(filter.closed, 1);
    }
  });
});

describe("FilterChain: pauses", () => {
  test("a head that is held keeps the body behind it; resume sends both on, the body through the same filter first", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const [a, b] = [new FakeFilter("a", seen, { requestHead: pause }), new FakeFilter("b", seen)];
    const exchange = bench.exchange([a, b]);
    assert.equal(exchange.chain.requestHead(false), "held");
    assert.equal(exchange.chain.requestData(bytes("x"), false), "held");
    assert.equal(exchange.chain.requestData(bytes("y"), false), "held");
    assert.equal(exchange.chain.requestEnd(undefined), "held");
    assert.deepEqual(seen.splice(0), ["a requestHead"]);
    a.resume("request");
    a.resume("request");
    assert.deepEqual(seen, ["a requestHead", "b requestHead", 'a requestData "xy" end', 'b requestData "xy" end'].slice(1));
    assert.deepEqual(exchange.events, ["pause request", 'request head "xy" end', "resume request"]);
  });

  test("a filter collects the body: nothing goes on before the end, and what it holds is a copy", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const exchange = bench.exchange([new FakeFilter("a", seen, { requestData: pauseUntilEnd }), new FakeFilter("b", seen)]);
    exchange.chain.requestHead(false);
    const chunk = bytes("abc");
    assert.equal(exchange.chain.requestData(chunk, false), "held");
    chunk.fill(0x7a);
    assert.equal(exchange.chain.requestData(bytes("d"), false), "held");
    assert.equal(exchange.chain.requestEnd(undefined), "forward");
    assert.equal(data(exchange), "abcd");
    assert.deepEqual(seen.slice(2), [
      'a requestData "abc"',
      'a requestData "abcd"',
      'a requestData "abcd" end',
      'b requestData "abcd" end',
    ]);
    assert.deepEqual(exchange.events, []);
  });

  test("two filters pause one after the other, in both directions", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const answers = { requestHead: pause, responseHead: pause, requestData: pause, responseData: pause };
    const [a, b] = [new FakeFilter("a", seen, answers), new FakeFilter("b", seen, answers)];
    const exchange = bench.exchange([a, b]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(bytes("1"), true);
    a.resume("request"); // head to b, which holds it; the body meets a, which holds it
    b.resume("request"); // the head goes on
    a.resume("request"); // the body meets b
    b.resume("request"); // the body goes on
    assert.deepEqual(exchange.events.splice(0), ['request head ""', 'request "1" end']);
    exchange.respond(200, [], false);
    exchange.chain.responseData(bytes("2"), false);
    b.resume("response");
    a.resume("response");
    b.resume("response");
    a.resume("response");
    assert.deepEqual(exchange.events, ["pause response", 'response head ""', "resume response", 'response "2"']);
  });

  test("trailers behind a held body come after it, and a pause in trailers holds the end alone", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { requestData: pause, requestTrailers: pause });
    const exchange = bench.exchange([a, new FakeFilter("b", seen)]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(bytes("x"), false), "held");
    assert.equal(exchange.chain.requestEnd(HeaderBlock.from([["t", "1"]])), "held");
    a.resume("request");
    assert.deepEqual(exchange.events, ['request "x" end']);
    assert.deepEqual(seen.slice(-2), ['b requestData "x"', "b requestTrailers"]);
  });

  test("the buffer: exactly the budget passes, one byte more is 413 for requests and 500 for replies", () => {
    for (const [direction, code] of [
      ["request", "filter_body_too_large"],
      ["response", "filter_reply_too_large"],
    ] as const) {
      for (const held of ["Head", "Data"] as const) {
        const bench = new FilterBench();
        const filter = new FakeFilter(
          "a",
          [],
          { [`${direction}${held}`]: pause },
          { budget: { bufferBytes: 10 }, onFailure: "open" },
        );
        const exchange = bench.exchange([filter]);
        const { chain } = exchange;
        chain.requestHead(direction === "response");
        if (direction === "response") exchange.respond(200, [], false);
        const send = (chunk: Bytes): string =>
          direction === "request" ? chain.requestData(chunk, false) : chain.responseData(chunk, false);
        assert.equal(send(bytes("12345")), "held");
        assert.equal(send(bytes("67890")), "held");
        assert.equal(send(bytes("1")), "failed", `${direction} ${held}`);
        assert.equal(chain.failure?.code, code);
        filter.resume(direction);
        assert.deepEqual(
          exchange.events.filter((event) => event.startsWith(`${direction} `)),
          [],
        );
        chain.close();
      }
    }
  });
});

describe("FilterChain: deadlines of pauses, in virtual time", () => {
  for (const held of ["requestHead", "responseHead", "requestTrailers"] as const) {
    test(`${held}: closed fails with filter_timeout, open goes on without the filter`, () => {
      for (const onFailure of ["closed", "open"] as const) {
        const bench = new FilterBench();
        const seen: string[] = [];
        const a = new FakeFilter("a", seen, { [held]: pause }, { onFailure, budget: { pauseMs: 1000 } });
        const exchange = bench.exchange([a]);
        exchange.chain.requestHead(false);
        exchange.chain.requestEnd(new HeaderBlock());
        if (held === "responseHead") exchange.respond(200, [], false);
        bench.clock.advance(999);
        assert.deepEqual(
          exchange.events.filter((event) => !event.startsWith("pause")),
          [],
          "not a moment early",
        );
        bench.clock.advance(100);
        const forward =
          held === "responseHead" ? 'response head ""' : held === "requestHead" ? 'request head "" end' : 'request "" end';
        assert.deepEqual(exchange.events, [onFailure === "closed" ? "fail filter_timeout" : forward]);
        assert.equal(a.closed, 1, "its call-outs end");
        a.resume(held.startsWith("request") ? "request" : "response");
        assert.equal(exchange.events.length, 1, "a late resume does nothing");
        exchange.chain.close();
      }
    });
  }

  test("collecting a body does not count until its end is there", () => {
    const bench = new FilterBench();
    const exchange = bench.exchange([new FakeFilter("a", [], { requestData: pause }, { budget: { pauseMs: 1000 } })]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(bytes("x"), false);
    bench.clock.advance(60_000);
    assert.deepEqual(exchange.events, []);
    exchange.chain.requestEnd(undefined);
    bench.clock.advance(1100);
    assert.deepEqual(exchange.events, ["fail filter_timeout"]);
  });

  test("no deadline outlives its exchange", () => {
    const bench = new FilterBench();
    const exchange = bench.exchange([new FakeFilter("a", [], { requestHead: pause })]);
    exchange.chain.requestHead(true);
    exchange.chain.close();
    bench.clock.advance(60_000);
    assert.deepEqual(exchange.events, []);
    assert.equal(bench.deadlines.size, 0);
    assert.equal(bench.clock.pending, 0);
  });
});

describe("FilterChain: local replies", () => {
  test("from the request side: those that saw the request see the answer, the one that answered included", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const filters = [
      new FakeFilter("a", seen),
      new FakeFilter("b", seen, { requestHead: () => denied }),
      new FakeFilter("c", seen),
    ];
    const exchange = bench.exchange(filters);
    assert.equal(exchange.chain.requestHead(false), "respond");
    assert.equal(exchange.chain.localResponse, denied);
    assert.equal(exchange.chain.requestData(bytes("x"), true), "held", "the request goes nowhere any more");
    assert.equal(exchange.respond(403, [], false), "forward");
    assert.deepEqual(seen, ["a requestHead", "b requestHead", "b responseHead", "a responseHead"]);
    assert.deepEqual(
      exchange.chain.runs().map(({ name, verdict }) => [name, verdict]),
      [
        ["a", "continue"],
        ["b", "respond"],
      ],
    );
    assert.equal(exchange.chain.answerer, "b");
    exchange.chain.close();
    assert.deepEqual(
      filters.map(({ stats }) => stats.verdicts),
      [
        { continue: 1, pause: 0, respond: 0, fail: 0 },
        { continue: 0, pause: 0, respond: 1, fail: 0 },
        { continue: 0, pause: 0, respond: 0, fail: 0 },
      ],
    );
  });

  test("from the response side it goes out as it is; after the head it is a failure", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { responseHead: () => denied });
    const exchange = bench.exchange([a]);
    exchange.chain.requestHead(true);
    assert.equal(exchange.respond(200, [], false), "respond");
    seen.length = 0;
    assert.equal(exchange.respond(403, [], false), "forward");
    assert.equal(exchange.chain.responseData(bytes("no"), true), "forward");
    assert.deepEqual(seen, []);
    const late = bench.exchange([new FakeFilter("b", seen, { responseData: () => denied })]);
    late.chain.requestHead(true);
    assert.equal(late.respond(200, [], false), "forward");
    assert.equal(late.chain.responseData(bytes("x"), false), "failed");
  });

  test("from outside a callback, while it is paused and while it is not; once only", () => {
    const bench = new FilterBench();
    for (const held of [true, false]) {
      const a = new FakeFilter("a", [], held ? { requestHead: pause } : {});
      const exchange = bench.exchange([a]);
      exchange.chain.requestHead(false);
      for (let i = 0; i < 2; i++) if (a.context !== undefined) a.exchange?.respond(a.context, denied);
      assert.deepEqual(exchange.events, ["respond 403"]);
      exchange.chain.close();
      if (a.context !== undefined) a.exchange?.respond(a.context, denied);
      assert.equal(exchange.events.length, 1, "after close nothing is heard");
    }
  });

  test("an answer of the proxy itself replaces one that a filter holds", () => {
    const bench = new FilterBench();
    const a = new FakeFilter("a", [], { responseHead: pause });
    const exchange = bench.exchange([a]);
    exchange.chain.requestHead(true);
    assert.equal(exchange.respond(200, [], false), "held");
    assert.equal(exchange.respond(504, [], true), "forward");
    a.resume("response");
    assert.deepEqual(exchange.events, []);
  });
});

describe("FilterChain: failures and late calls", () => {
  test("closed fails, open leaves the filter out from then on", () => {
    const bench = new FilterBench();
    for (const onFailure of ["closed", "open"] as const) {
      const seen: string[] = [];
      const a = new FakeFilter("a", seen, { requestData: () => ({ kind: "fail", reason: "broken" }) }, { onFailure });
      const exchange = bench.exchange([a, new FakeFilter("b", seen)]);
      exchange.chain.requestHead(false);
      const result = exchange.chain.requestData(bytes("x"), false);
      assert.equal(result, onFailure === "closed" ? "failed" : "forward");
      if (onFailure === "closed") assert.match(String(exchange.chain.failure), /filter_failed \(broken\) at filter a/);
      else assert.equal(data(exchange), "x");
      assert.equal(exchange.respond(200, [], true), "forward");
      assert.equal(seen.at(-1), "b responseHead end", "the broken one sees no answer");
      assert.equal(a.closed, 1);
    }
  });

  test("a filter that broke on body bytes released by trailers does not see the trailers", () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { requestData: pause });
    const b = new FakeFilter("b", seen, { requestData: () => ({ kind: "fail", reason: "broken" }) }, { onFailure: "open" });
    const exchange = bench.exchange([a, b]);
    exchange.chain.requestHead(false);
    exchange.chain.requestData(bytes("x"), false);
    assert.equal(exchange.chain.requestEnd(new HeaderBlock()), "forward");
    assert.equal(data(exchange), "x");
    assert.deepEqual(seen.slice(-2), ["a requestTrailers", 'b requestData "x"']);
  });

  test("resume inside the callback that pauses is a continue", () => {
    const bench = new FilterBench();
    const a = new FakeFilter("a", [], {
      requestHead: (filter) => {
        filter.resume("request");
        return PAUSE;
      },
    });
    const exchange = bench.exchange([a]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.deepEqual(exchange.events, []);
  });

  test("what a filter does to another one's pause in the middle of a chain call waits until the call has answered", async () => {
    const bench = new FilterBench();
    const seen: string[] = [];
    const a = new FakeFilter("a", seen, { requestHead: pause });
    const b = new FakeFilter("b", seen, {
      responseHead: () => {
        if (a.context !== undefined) a.exchange?.fail(a.context, "broke meanwhile");
        return CONTINUE;
      },
    });
    const exchange = bench.exchange([b, a]);
    exchange.chain.requestHead(true);
    exchange.respond(200, [], true);
    assert.deepEqual(exchange.events, []);
    await settle();
    assert.deepEqual(exchange.events, ["fail filter_failed"]);
  });

  test("chains are reused, and an old exchange's filter cannot touch the next one", () => {
    const bench = new FilterBench();
    const a = new FakeFilter("a", [], { requestHead: pause });
    const first = bench.exchange([a]);
    first.chain.requestHead(true);
    const old = { context: a.context, exchange: a.exchange };
    first.chain.close();
    const second = bench.exchange([a]);
    assert.equal(second.chain, first.chain);
    second.chain.requestHead(true);
    if (old.context !== undefined) {
      old.exchange?.resume(old.context, "request");
      old.exchange?.respond(old.context, denied);
      old.exchange?.fail(old.context, "late");
    }
    assert.deepEqual(second.events, []);
  });
});
