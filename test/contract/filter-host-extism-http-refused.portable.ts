import assert from "node:assert/strict";
import { DEFAULT_CALLOUT_LIMITS, EXTISM_LIMITS } from "../../src/core/limits.ts";
import { EXTISM_TYPES } from "../kit/extism.ts";
import {
  ASK,
  answer,
  answerOf,
  type Change,
  failureOf,
  load,
  PASS_ON,
  REQUEST,
  run,
  STATUS,
  setting,
  turns,
} from "../kit/extism-http.ts";
import { settle, type TestExchange } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

// `http_request`: faults, calls without an answer, and what may not be called.

describe("extism http_request: faults after it went on", () => {
  const faults: readonly (readonly [name: string, body: string, reason: RegExp, change?: Change])[] = [
    ["a trap", `${ASK} drop unreachable`, /trap: unreachable code/],
    ["an endless loop", `${ASK} drop loop br 0 end i32.const 0`, /used up its fuel of 1000000 in one callback/],
    [
      "an endless loop, with the fuel of an exchange",
      `${ASK} drop loop br 0 end i32.const 0`,
      /used up its fuel of 90000 in one exchange/,
      { budget: { exchangeFuel: 90_000 } },
    ],
    ["too many calls of the host", `loop $text drop br 0 end ${ASK} i32.wrap_i64`, /fuel/],
  ];
  for (const [name, body, reason, change] of faults) {
    test(name, async () => {
      const { bench, module, exchange } = await run(body, [answerOf("")], change);
      assert.match(failureOf(exchange), reason);
      assert.deepEqual([module.status().traps, module.status().instances], [1, 0]);
      assert.equal(bench.metrics.traps.length, 1);
      const next = bench.exchange([module]);
      assert.equal(next.chain.requestHead(true), "held", "a new one comes at once the first time");
      next.chain.close();
    });
  }

  test("an endless recursion, on the stack that was suspended", async () => {
    const deep = `call ${Object.keys(EXTISM_TYPES).length + 2}`;
    const { bench, module } = await load({ exports: { deep, on_request: `${ASK} drop ${deep}` } });
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    await settle();
    await answer(exchange, answerOf(""));
    assert.match(failureOf(exchange), /calls nest too deep/);
    assert.equal(module.status().traps, 1);
  });

  test("one that keeps breaking is quarantined, and calls nobody any more", async () => {
    const { bench, module } = await load(`${ASK} drop unreachable`, { budget: { faults: 3 } });
    let calls = 0;
    for (let i = 0; i < 6; i++) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await settle();
      calls += exchange.callouts.length;
      await answer(exchange, answerOf(""));
      bench.clock.advance(1_000);
    }
    assert.deepEqual([module.status().quarantined, module.status().traps, calls], [true, 3, 3]);
  });
});

describe("extism http_request: no answer", () => {
  test("a call that fails ends the callback, not the filter: onFailure, and no fault that leads to quarantine", async () => {
    // It would let pass.
    const { bench, module } = await load(`${ASK} drop $text $log_warn i32.const 0`, { budget: { faults: 2 } });
    for (let i = 0; i < 5; i++) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await settle();
      await answer(exchange, undefined);
      assert.deepEqual(exchange.events, ["fail filter_failed"]);
      assert.match(
        failureOf(exchange),
        /http_request to default\/aside: it has no answer, none in time, or one that is too large/,
      );
    }
    assert.deepEqual([module.status().traps, module.status().quarantined, module.status().instances], [0, false, 1]);
    assert.equal(bench.metrics.stats.faults.get("callout"), 5);
  });

  test("onFailure open: the exchange goes on without it", async () => {
    const { exchange } = await run(PASS_ON, [undefined], { onFailure: "open" });
    assert.deepEqual(exchange.events, ['request head "" end']);
  });

  test("an answer that is larger than the memory it shares", async () => {
    const small = { budget: { memoryBytes: 2 * 65_536 } };
    const { exchange } = await run(PASS_ON, [answerOf(new Uint8Array(200_000))], small);
    assert.match(failureOf(exchange), /larger than the memory that it shares/);
    assert.equal(exchange.callouts[0]?.request.answerBytes, 1024 * 1024);
  });

  test("a service that is gone", async () => {
    const { bench, module } = await load(PASS_ON);
    const exchange = bench.exchange([module]);
    exchange.callout = () => 0;
    exchange.chain.requestHead(true);
    await settle();
    assert.match(failureOf(exchange), /http_request to default\/aside: there is no such service/);
    assert.equal(module.status().traps, 0);
  });
});

describe("extism http_request: what is not granted", () => {
  const url = (text: string): string => JSON.stringify({ url: text });
  const denied: readonly (readonly [name: string, text: string, reason: RegExp, isDenied: boolean, change?: Change])[] = [
    ["no call at all", REQUEST, /may not call services by http_request/, true, { capabilities: { callouts: [] } }],
    ["another service", url("http://other/"), /may not call other: it was granted no service of that name/, true],
    ["one of another namespace", url("http://aside.shop/"), /may not call aside.shop/, true],
    ["an address", url("http://127.0.0.1/"), /may not call 127.0.0.1/, true],
    ["another scheme", url("file:///etc/passwd"), /its url is none of http or https/, false],
    ["a password", url("http://me:secret@aside/"), /its url is none of http or https/, false],
    ["no url", "{}", /its url is none/, false],
    ["no JSON", "{", /its request is no JSON object/, false],
    ["an unknown member", '{"url":"http://aside","hedaers":{}}', /unknown member "hedaers"/, false],
    [
      "framing",
      '{"url":"http://aside","headers":{"Transfer-Encoding":"chunked"}}',
      /its field "transfer-encoding" may not be written so/,
      false,
    ],
    ["a line break", '{"url":"http://aside","headers":{"a":"b\\r\\nc: d"}}', /its field "a" may not be written so/, false],
    ["another host", '{"url":"http://aside","headers":{"host":"b"}}', /its field "host" may not be written so/, false],
    ["a method with a space", '{"url":"http://aside","method":"GET /x"}', /its method is none/, false],
    ["a tunnel", '{"url":"http://aside","method":"CONNECT"}', /its method is none/, false],
    ["a name that is none", '{"url":"http://aside","headers":{"a b":"c"}}', /its field "a b" may not be written so/, false],
    ["an upgrade", '{"url":"http://aside","headers":{"Connection":"Upgrade"}}', /its field "connection"/, false],
    ["a value that is no text", '{"url":"http://aside","headers":{"a":1}}', /its field "a" may not be written so/, false],
    ["a name in front of the host", url("http://aside@evil/"), /its url is none of http or https/, false],
    ["a host behind a fragment", url("http://evil#@aside/"), /may not call evil/, true],
    ["a host behind a backslash", url("http://evil\\@aside/"), /may not call evil/, true],
    ["a host with a dot at its end", url("http://aside./"), /may not call aside\./, true],
    ["an address of six", url("http://[::1]:8080/"), /may not call \[::1\]/, true],
    ["an address as a number", url("http://2130706433/"), /may not call 127\.0\.0\.1/, true],
    ["a longer name", url("http://aside.evil.example/"), /may not call aside\.evil\.example/, true],
    [
      "more than it may hand over",
      `{"url":"http://aside/${"a".repeat(200)}"}`,
      /its request is larger than its budget/,
      false,
      { budget: { outputBytes: 100 } },
    ],
  ];
  for (const [name, text, reason, isDenied, change] of denied) {
    test(`${name}: counted, contained, never sent`, async () => {
      const { bench, module } = await load({ text, exports: { on_request: PASS_ON } }, change);
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await settle();
      assert.match(failureOf(exchange), reason);
      assert.deepEqual(exchange.callouts, []);
      assert.equal(bench.metrics.denied.get("callouts") ?? 0, isDenied ? 1 : 0);
      // What cannot be sent may come from the exchange: that breaks nothing.
      assert.deepEqual([module.status().traps, module.status().contexts], [isDenied ? 1 : 0, 0]);
      assert.equal(bench.metrics.stats.faults.get(isDenied ? "denied" : "callout"), 1);
    });
  }

  test("a request of just the most bytes is read; of one byte more, or a second one after it, none is", async () => {
    for (const [bytes, reason] of [
      [EXTISM_LIMITS.httpRequestBytes, /its request is no JSON object/],
      [EXTISM_LIMITS.httpRequestBytes + 1, /its request is larger than its budget/],
    ] as const) {
      const { bench, module } = await load(`i64.const ${bytes} $alloc i64.const 0 $http_request drop i32.const 0`);
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await settle();
      assert.match(failureOf(exchange), reason);
    }
    const again = await load({ text: "{", exports: { on_request: `${ASK} drop ${STATUS}` } });
    const twice = again.bench.exchange([again.module]);
    twice.chain.requestHead(true);
    await settle();
    assert.deepEqual([twice.callouts, again.module.status().traps], [[], 0]);
  });

  test("hosts: a name with dots in the default namespace, and name.namespace", async () => {
    for (const [host, service] of [
      ["api.example.com", "default/api.example.com"],
      ["authz.team", "team/authz"],
      ["AUTHZ.team:81", "team/authz"],
    ] as const) {
      const plugin = { text: url(`https://${host}/`), exports: { on_request: PASS_ON } };
      const { exchange } = await run(plugin, [setting("ann")], { capabilities: { callouts: [service] } });
      assert.equal(exchange.callouts[0]?.request.service, service);
      assert.equal(exchange.request.headers.get("x-user"), "ann");
    }
  });

  test("more calls than its limits give: at the same time, and in a second", async () => {
    for (const [limits, allowed] of [
      [{ ...DEFAULT_CALLOUT_LIMITS, concurrent: 2 }, 2],
      [{ ...DEFAULT_CALLOUT_LIMITS, perSecond: 3 }, 3],
    ] as const) {
      const { bench, module } = await load(PASS_ON, { capabilities: { calloutLimits: { "default/aside": limits } } });
      const all = Array.from({ length: allowed + 1 }, () => bench.exchange([module]));
      for (const each of all) each.chain.requestHead(true);
      await turns(bench, all.length);
      assert.match(failureOf(all[allowed] as TestExchange), /it makes more calls than its limits give it/);
      assert.equal(all.filter((each) => each.callouts.length > 0).length, allowed);
      assert.equal(bench.metrics.denied.get("callouts"), 1);
      assert.deepEqual([module.status().traps, bench.metrics.stats.faults.get("callout")], [0, 1]);
      for (const each of all) each.chain.close();
    }
  });

  test("while it is configured there is no exchange to call for", async () => {
    await assert.rejects(load({ exports: { on_configure: STATUS, on_request: "i32.const 0" } }), /no exchange while it starts/);
    await assert.rejects(load({ start: `${ASK} drop`, exports: { on_request: "i32.const 0" } }), /no exchange while it starts/);
  });
});
