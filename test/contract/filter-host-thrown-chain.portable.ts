import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { CONTINUE, type FilterContext, type FilterExchange, type FilterModule, PAUSE } from "../../src/filters/contract.ts";
import { FilterStats } from "../../src/filters/stats.ts";
import { FilterBench, filterConfig, settle, TestExchange } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";
import { play } from "../kit/whole-exchange.ts";

// What a context throws ends in the chain: that exchange gets the filter's `onFailure`, and the other filters have their turn.

/** A filter whose context throws in one callback. */
class Thrower implements FilterModule {
  readonly config;
  readonly stats = new FilterStats();
  readonly seen: string[] = [];
  readonly thrown: (FilterContext | undefined)[] = [];
  closed = 0;
  exchange: FilterExchange | undefined;
  context: FilterContext | undefined;

  constructor(
    readonly where: string,
    onFailure: "open" | "closed" = "closed",
    readonly pausesAt = "",
  ) {
    this.config = filterConfig({ name: `default/${where}`, onFailure });
  }

  #enter(name: string): void {
    this.seen.push(name);
    if (name === this.where) throw new TypeError(`bug in ${name}`);
  }
  #answer(name: string): typeof CONTINUE {
    this.#enter(name);
    return name === this.pausesAt ? PAUSE : CONTINUE;
  }
  open(exchange: FilterExchange): FilterContext {
    this.#enter("open");
    this.exchange = exchange;
    this.context = {
      onRequestHead: () => this.#answer("request head"),
      onRequestData: () => this.#answer("request data"),
      onRequestTrailers: () => this.#answer("request trailers"),
      onResponseHead: () => this.#answer("response head"),
      onResponseData: () => this.#answer("response data"),
      onResponseTrailers: () => this.#answer("response trailers"),
      onSideClosed: (side) => this.#enter(`${side} closed`),
      onLog: () => this.#enter("log"),
      close: () => {
        this.closed++;
        this.#enter("close");
      },
      wantsBody: () => true,
      wantsTrailers: () => true,
      spentFuel: () => {
        this.#enter("spent fuel");
        return 0;
      },
      spentMs: 0,
    };
    return this.context;
  }
  onThrown(error: unknown, context?: FilterContext): string {
    this.stats.onFault("host");
    this.thrown.push(context);
    return `thrown: ${(error as Error).message}`;
  }
  control(): void {}
  status(): ReturnType<FilterModule["status"]> {
    return { instances: 1, contexts: 0, calls: 0, traps: 0, memoryBytes: 0, lastError: undefined };
  }
  dispose(): void {}
}

class Stream extends TestExchange {
  get isStream(): boolean {
    return true;
  }
}

describe("a context that throws: the chain", () => {
  const VERDICTS = ["request head", "request data", "request trailers", "response head", "response data", "response trailers"];

  test("in a callback that answers a verdict: its onFailure, once, and nobody else's", () => {
    for (const [i, where] of ["open", ...VERDICTS].entries()) {
      for (const onFailure of ["closed", "open"] as const) {
        const bench = new FilterBench();
        const [before, thrower, after] = [new Thrower("a"), new Thrower(where, onFailure), new Thrower("b")];
        const exchange = bench.exchange([before, thrower, after]);
        const results = play(exchange);
        const at = Math.max(0, i - 1);
        if (onFailure === "open") assert.deepEqual(results, new Array(6).fill("forward"), where);
        else {
          assert.deepEqual(results, [...new Array(at).fill("forward"), "failed"], where);
          assert.equal(exchange.chain.failure, undefined, "the chain is closed");
        }
        assert.deepEqual(thrower.thrown, [where === "open" ? undefined : thrower.context], where);
        assert.deepEqual([...thrower.stats.faults], [["host", 1]]);
        assert.equal(thrower.stats.verdicts.fail, 1);
        assert.deepEqual([before.closed, thrower.closed, after.stats.verdicts.fail], [1, where === "open" ? 0 : 1, 0], where);
      }
    }
  });

  test("the failure names the filter and says what was thrown", () => {
    const exchange = new FilterBench().exchange([new Thrower("request head")]);
    assert.equal(exchange.chain.requestHead(true), "failed");
    assert.match(String(exchange.chain.failure), /^filter_failed \(thrown: bug in request head\).*filter default\/request head/);
  });

  test("in the log, in close, when its fuel is read: the other filters have their turn, and the chain is used again", () => {
    for (const where of ["log", "close", "spent fuel"]) {
      const bench = new FilterBench();
      const filters = [new Thrower("a"), new Thrower(where), new Thrower("b")];
      const exchange = bench.exchange(filters, {}, true);
      assert.deepEqual(play(exchange), new Array(6).fill("forward"), where);
      assert.deepEqual([...(filters[1]?.stats.faults ?? [])], [["host", 1]], where);
      for (const filter of filters) {
        assert.equal(filter.seen.includes("log"), true);
        // One that threw gets a second chance to tidy up, and no third.
        assert.equal(filter.closed, filter.where === "close" ? 2 : 1, where);
      }
      assert.equal(bench.exchange([new Thrower("")]).chain, exchange.chain, "it went back to its pool");
    }
  });

  test("in close after it failed, and after its pause took too long", () => {
    const bench = new FilterBench();
    const exchange = bench.exchange([new Thrower("close", "closed", "request head")]);
    assert.equal(exchange.chain.requestHead(true), "held");
    bench.clock.advance(6_000);
    assert.deepEqual(exchange.events, ["fail filter_timeout"]);
    const broken = new Thrower("request head");
    broken.onThrown = () => "x";
    assert.equal(bench.exchange([broken]).chain.requestHead(true), "failed");
  });

  test("of a stream of bytes: in its callbacks, and when a side of it is closed", async () => {
    for (const where of ["request head", "request data", "response data"]) {
      const thrower = new Thrower(where);
      const { chain } = new Stream(new FilterBench().chains, [thrower], {});
      const results = [chain.requestHead(false), chain.requestData(latin1Bytes("x"), false)];
      if (where === "response data") results.push(chain.responseData(latin1Bytes("x"), false));
      assert.equal(results.includes("failed"), true, where);
      assert.deepEqual([...thrower.stats.faults], [["host", 1]]);
    }
    for (const side of ["downstream", "upstream"] as const) {
      const [thrower, other] = [new Thrower(`${side} closed`), new Thrower("")];
      const exchange = new Stream(new FilterBench().chains, [thrower, other], {});
      exchange.chain.requestHead(false);
      exchange.chain.sideClosed(side, true);
      assert.deepEqual(other.seen, ["open", "request head", `${side} closed`]);
      assert.deepEqual(exchange.events, [], "not in this call");
      await settle();
      assert.deepEqual(exchange.events, ["fail filter_failed"]);
    }
  });

  test("when a call-out is answered, in time or when the exchange is over; a call that cannot be made is refused", () => {
    for (const isOver of [false, true]) {
      const thrower = new Thrower("", "closed", "request head");
      const exchange = new FilterBench().exchange([thrower]);
      exchange.chain.requestHead(true);
      const request = { service: "s", headers: new HeaderBlock(), body: latin1Bytes(""), trailers: undefined };
      const id = thrower.exchange?.callout({ ...request, timeoutMs: 1, answerBytes: 1 }, () => {
        throw new TypeError("bug in the answer");
      });
      assert.equal(id, 1);
      if (isOver) exchange.chain.close();
      exchange.callouts[0]?.done(undefined);
      assert.deepEqual(exchange.events, isOver ? [] : ["fail filter_failed"]);
      assert.deepEqual(thrower.thrown, [isOver ? undefined : thrower.context]);
      exchange.callout = () => {
        throw new TypeError("bug in the call");
      };
      if (!isOver) continue;
      const next = new FilterBench().exchange([thrower]);
      next.chain.requestHead(true);
      next.callout = exchange.callout;
      assert.equal(
        thrower.exchange?.callout({ ...request, timeoutMs: 1, answerBytes: 1 }, () => {}),
        0,
      );
      assert.deepEqual(thrower.stats.faults.get("host"), 2);
    }
  });
});
