import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { ACTOR, ComponentBench, readGuest } from "../kit/component.ts";
import { ComponentBuilder, declare, STRING, type, U32 } from "../kit/component-builder.ts";
import { filterConfig, settle } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

const TYPICAL = readGuest("component-typical");

describe("component: instances", () => {
  test("a trap costs every exchange of the instance its onFailure, and a new instance comes", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-body": "pause", "request-trailers": "trap" });
    const waiting = bench.exchange([module]);
    waiting.chain.requestHead(false);
    assert.equal(waiting.chain.requestData(latin1Bytes("x"), false), "held");
    const hit = bench.exchange([module]);
    assert.equal(hit.chain.requestHead(false), "forward");
    assert.equal(hit.chain.requestEnd(new HeaderBlock(["a"], ["b"])), "failed");
    assert.match(String(hit.chain.failure), /trap: unreachable/);
    // No time passes: the first fault costs nobody else anything.
    assert.equal(bench.exchange([module]).chain.requestHead(false), "forward");
    await settle();
    assert.deepEqual(waiting.events, ["fail filter_failed"]);
    bench.clock.advance(0);
    assert.equal(module.status().instances, 1);
    assert.deepEqual(bench.metrics.traps, ["trap: unreachable code"]);
  });

  test("new instances come later and later while they keep trapping", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "trap" }, { onFailure: "open" });
    const waits = [0, 100, 200, 400];
    for (const waitMs of waits) {
      assert.equal(bench.exchange([module]).chain.requestHead(true), "forward");
      assert.equal(module.status().instances, 0);
      if (waitMs > 0) {
        bench.clock.advance(waitMs - 1);
        assert.equal(module.status().instances, 0, `not before ${waitMs} ms`);
        bench.clock.advance(1);
      } else bench.clock.advance(0);
      assert.equal(module.status().instances, 1);
    }
    bench.clock.advance(10_000);
    bench.exchange([module]).chain.requestHead(true);
    bench.clock.advance(0);
    assert.equal(module.status().instances, 1, "after a quiet time it comes at once again");
    assert.match(module.status().lastError ?? "", /unreachable/);
  });

  test("100 traps leave no instance, no context and no timer behind", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "loop" }, { onFailure: "open", budget: { faults: 0 } });
    const other = await bench.actor({ "request-head": "set x-a 1" }, { name: "default/other" });
    for (let i = 0; i < 100; i++) {
      const exchange = bench.exchange([module, other]);
      assert.equal(exchange.chain.requestHead(true), "forward");
      assert.equal(exchange.request.headers.get("x-a"), "1");
      exchange.chain.close();
      await Promise.resolve();
      bench.clock.advance(30_000);
    }
    assert.deepEqual([module.status().traps, module.status().contexts, module.status().instances], [100, 0, 1]);
    module.dispose();
    other.dispose();
    assert.equal(bench.clock.pending, 0);
    assert.equal(bench.shared.size, 0);
  });

  test("so many faults within the window, and the filter is quarantined; slower ones are forgiven", async () => {
    const bench = new ComponentBench();
    const change = { onFailure: "open", budget: { faults: 3, faultWindowMs: 60_000 } } as const;
    const slow = await bench.actor({ "request-head": "trap" }, change);
    const quick = await bench.actor({ "request-head": "trap" }, { ...change, name: "default/quick" });
    for (let i = 0; i < 4; i++) {
      bench.exchange([slow]).chain.requestHead(true);
      bench.clock.advance(30_001);
    }
    assert.deepEqual([slow.status().quarantined, slow.status().traps], [false, 4]);
    for (let i = 0; i < 4; i++) {
      assert.equal(bench.exchange([quick]).chain.requestHead(true), "forward");
      bench.clock.advance(1_000);
    }
    const { quarantined, traps, instances } = quick.status();
    assert.deepEqual([quarantined, traps, instances], [true, 3, 0]);
    bench.clock.advance(600_000);
    assert.equal(quick.status().instances, 0, "it does not come back by itself");
  });

  test("isolated: one exchange at a time in an instance, and instances are used again", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "alive" }, { isolated: true });
    const exchanges = [0, 1, 2].map(() => bench.exchange([module]));
    for (const exchange of exchanges) {
      exchange.chain.requestHead(true);
      bench.clock.advance(0);
    }
    assert.deepEqual(bench.said, ["alive: 1", "alive: 1", "alive: 1"]);
    assert.equal(module.status().instances, 3);
    for (const exchange of exchanges) exchange.chain.close();
    bench.exchange([module]).chain.requestHead(true);
    assert.equal(module.status().instances, 3);
  });

  test("contexts of one instance are capped", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "continue" }, { budget: { contextsPerInstance: 2 } });
    const [first, second, third] = [0, 1, 2].map(() => bench.exchange([module]));
    assert.equal(first?.chain.requestHead(true), "forward");
    assert.equal(second?.chain.requestHead(true), "forward");
    assert.equal(third?.chain.requestHead(true), "failed");
    assert.match(String(third?.chain.failure), /too many contexts/);
    first?.chain.close();
    assert.equal(bench.exchange([module]).chain.requestHead(true), "forward");
  });

  test("a module that is disposed of serves its exchanges to their end", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "log in", "response-head": "log out" });
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    module.dispose();
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    assert.equal(exchange.respond(200, [], true), "forward");
    exchange.chain.close();
    assert.deepEqual(bench.said, ["in", "out"]);
    assert.equal(module.status().instances, 0);
  });
});

describe("component: budgets", () => {
  test("memory beyond the budget is refused by memory.grow, and at load when it is needed at once", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-head": "grow 64; grow 1" }, { budget: { memoryBytes: 64 * 65_536 } });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.equal(bench.said[0], "grow 64: -1");
    assert.notEqual(bench.said[1], "grow 1: -1");
    await assert.rejects(bench.actor({}, { budget: { memoryBytes: 65_536 } }), /memory/);
  });

  test("calls to the host in one callback are bounded", async () => {
    const bench = new ComponentBench();
    const budget = { hostCallsPerCallback: 100 };
    const within = await bench.actor({ "request-head": "calls 99; end" }, { budget });
    // The request's handle is dropped as well, and the line is logged.
    assert.equal(bench.exchange([within]).chain.requestHead(true), "failed");
    const enough = await bench.actor({ "request-head": "calls 98; end" }, { budget });
    assert.equal(bench.exchange([enough]).chain.requestHead(true), "forward");
  });

  test("values that one call hands over are bounded: items of lists and fields of records", async () => {
    const bench = new ComponentBench();
    const budget = { callbackFuel: 500_000_000, exchangeFuel: 1_000_000_000, outputBytes: 64 * 1024 * 1024 };
    // Each header is an item with two fields; the answer itself has three.
    for (const [headers, reason] of [
      [21_844, /the filter's answer is larger than its budget/],
      [21_845, /more values than one call may/],
    ] as const) {
      const module = await bench.actor({ "request-head": `long-list ${headers}` }, { budget });
      const exchange = bench.exchange([module]);
      assert.equal(exchange.chain.requestHead(true), "failed");
      assert.match(String(exchange.chain.failure), reason);
    }
  });

  test("an exchange has its fuel, whatever each of its callbacks may use", async () => {
    const bench = new ComponentBench();
    const lines = { "request-head": "line", "request-body": "calls 20" };
    const used = await bench.actor(lines);
    const first = bench.exchange([used]);
    first.chain.requestHead(false);
    first.chain.requestData(latin1Bytes("x"), false);
    const { fuel = 0 } = used.status();
    assert.ok(fuel > 1_000, `fuel ${fuel}`);
    const budget = { exchangeFuel: fuel, callbackFuel: fuel };
    const module = await bench.actor(lines, { budget });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(false), "forward");
    let result = "forward";
    for (let i = 0; i < 20 && result === "forward"; i++) result = exchange.chain.requestData(latin1Bytes("x"), false);
    assert.equal(result, "failed");
    assert.match(String(exchange.chain.failure), /used up its fuel of \d+ in one exchange/);
  });

  test("an exchange has its calls to the host, whatever each of its callbacks may make", async () => {
    const bench = new ComponentBench();
    const lines = { "request-head": "calls 5", "response-head": "calls 5" };
    // Callbacks give back handles as well: one, and two of the response.
    for (const [hostCallsPerExchange, expected] of [
      [13, "forward"],
      [12, "failed"],
    ] as const) {
      const module = await bench.actor(lines, { budget: { hostCallsPerExchange } });
      for (let i = 0; i < 2; i++) {
        const exchange = bench.exchange([module]);
        assert.equal(exchange.chain.requestHead(true), "forward");
        assert.equal(exchange.respond(200, [], true), expected);
        if (expected === "failed") assert.match(String(exchange.chain.failure), /budget of calls to the host in one exchange/);
      }
      assert.deepEqual([...module.stats.faults], expected === "failed" ? [["budget", 2]] : []);
    }
  });

  test("what it holds back of a body is bounded", async () => {
    const bench = new ComponentBench();
    const module = await bench.actor({ "request-body": "pause" }, { budget: { bufferBytes: 4 } });
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(false);
    assert.equal(exchange.chain.requestData(latin1Bytes("1234"), false), "held");
    assert.equal(exchange.chain.requestData(latin1Bytes("5"), false), "failed");
    assert.equal(exchange.chain.failure?.code, "filter_body_too_large");
  });

  test("an answer larger than the budget fails", async () => {
    const bench = new ComponentBench();
    const lines = { "request-head": "respond 200 12345" };
    const within = await bench.actor(lines, { budget: { outputBytes: 5 } });
    assert.equal(bench.exchange([within]).chain.requestHead(true), "respond");
    const beyond = await bench.actor(lines, { budget: { outputBytes: 4 } });
    assert.equal(bench.exchange([beyond]).chain.requestHead(true), "failed");
  });
});

describe("component: what does not load", () => {
  const imports = (name: string, ...declarations: readonly number[][]): Uint8Array =>
    new ComponentBuilder().types(type.instance(declarations)).importInstance(name, 0).build();
  const now = [declare.type(type.func([], U32)), declare.func("now", 0)];
  const refused: readonly (readonly [string, Uint8Array, RegExp])[] = [
    ["no component", latin1Bytes("hello world, hello"), /not a component/],
    ["no filter", new ComponentBuilder().build(), /exports no selvedge:filter\/configuration@0.1.0: it is no filter/],
    ["wasi:http", imports("wasi:http/outgoing-handler@0.2.0", ...now), /wasi:http.*call-out/],
    [
      "an interface of somebody else",
      imports("acme:secrets/vault@1.0.0", ...now),
      /acme:secrets\/vault@1.0.0: there is no capability/,
    ],
    ["a WASI of the future", imports("wasi:clocks/wall-clock@0.3.0", ...now), /this host has WASI 0.2/],
    ["a package of the future", imports("selvedge:filter/log@0.2.0", ...now), /this host has version 0.1/],
    [
      "a function that does not exist",
      imports("selvedge:filter/clock@0.1.0", ...now),
      /clock@0.1.0.now, which this host does not/,
    ],
    [
      "a function of another type",
      imports("selvedge:filter/clock@0.1.0", declare.type(type.func([], STRING)), declare.func("wall", 0)),
      /clock@0.1.0.wall as func\(\) -> string, but it is func\(\) -> u64/,
    ],
  ];
  for (const [name, wasm, reason] of refused) {
    test(name, async () => {
      const bench = new ComponentBench();
      await assert.rejects(bench.load(filterConfig({ abi: "component" }), wasm), reason);
      assert.equal(bench.shared.size, 0, "nothing of it stays");
    });
  }

  test("calls without the capability: the message names the import and what grants it", async () => {
    const bench = new ComponentBench();
    const capabilities = { callouts: [], sharedData: undefined, rateLimit: false, clock: false };
    const loading = bench.actor({}, { capabilities });
    await assert.rejects(loading, /selvedge:filter\/call-out@0.1.0: grant it by capabilities.callouts/);
  });

  test("settings that configure refuses: in the guest's own words", async () => {
    const bench = new ComponentBench();
    await assert.rejects(bench.actor({ configure: "fail unknown key: colour" }), /^Error: unknown key: colour$/);
    await assert.rejects(bench.actor({ configure: "panic" }), /trap: unreachable/);
    await assert.rejects(bench.actor({ configure: "loop" }), /fuel/);
    assert.equal(bench.shared.size, 0);
  });

  test("cut off anywhere, it is refused; with a byte changed anywhere, it loads or is refused", async () => {
    const bench = new ComponentBench();
    const rng = new SeededRng(7);
    const config = filterConfig({ abi: "component" });
    for (let i = 0; i < 100; i++) {
      const cut = TYPICAL.slice(0, rng.below(TYPICAL.byteLength));
      await assert.rejects(bench.load(config, cut), Error);
      const changed = new Uint8Array(TYPICAL);
      changed[rng.below(changed.byteLength)] = rng.below(256);
      try {
        const module = await bench.load(config, changed);
        bench.exchange([module]).chain.requestHead(true);
        module.dispose();
      } catch (error) {
        assert.ok(error instanceof Error && error.message !== "", String(error));
      }
    }
  });

  test("with a byte of its types, imports or exports changed, it loads or is refused", async () => {
    const bench = new ComponentBench();
    const config = filterConfig({ abi: "component", settings: '{"script":"request-head: line"}' });
    const rng = new SeededRng(11);
    // Outside its core modules a component is small; there every kind of definition is met.
    for (let i = 0; i < 150; i++) {
      const changed = new Uint8Array(ACTOR);
      const at = rng.below(2) === 0 ? rng.below(4_096) : changed.byteLength - 1 - rng.below(8_192);
      changed[at] = rng.below(256);
      await bench.load(config, changed).then(
        (module) => module.dispose(),
        (error: unknown) => assert.ok(error instanceof Error && error.message !== "", String(error)),
      );
    }
  });
});
