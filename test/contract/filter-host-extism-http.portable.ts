import assert from "node:assert/strict";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import { DEFAULT_CALLOUT_LIMITS, DEFAULT_FILTER_BUDGET, EXTISM_LIMITS } from "../../src/core/limits.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import type { ExtismBench } from "../kit/extism.ts";
import {
  ASK,
  answer,
  answerOf,
  assertServes,
  failureOf,
  load,
  numberAfter,
  PASS_ON,
  REQUEST,
  run,
  STATUS,
  setting,
  turns,
} from "../kit/extism-http.ts";
import { settle, type TestExchange } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

// `http_request`: what it asks, what it gets, and exchanges that do not wait for it.

describe("extism http_request: what it asks and what it gets", () => {
  test("the service that its host names, with method, target, fields and body", async () => {
    const body = `$text i32.const 0 i32.const 4 $copy $http_request local.tee 0 local.get 0 $length $output_set i32.const 0`;
    const { exchange, module } = await run(body, [setting("ann")]);
    const { request } = exchange.callouts[0] ?? assert.fail();
    assert.equal(request.service, "default/aside");
    assert.deepEqual(request.headers.entries(), [
      [":method", "POST"],
      [":path", "/who?a=1"],
      [":authority", "aside:8080"],
      ["x-token", "t"],
    ]);
    assert.equal(latin1Text(request.body), '{"ur');
    // No exchange waits longer than its pause.
    assert.equal(request.timeoutMs, DEFAULT_FILTER_BUDGET.pauseMs);
    assert.deepEqual(exchange.events, ['request head "" end']);
    assert.equal(exchange.request.headers.get("x-user"), "ann");
    assert.deepEqual([module.status().traps, module.status().instances], [0, 1]);
  });

  test("status, fields and length of the answer; nothing of them before a call, nor in the next callback", async () => {
    assert.equal(await numberAfter(STATUS, [answerOf("", "404")]), 404);
    const fields: [string, string][] = [
      ["x-a", "1"],
      ["x-a", "2"],
    ];
    // {"x-a":"1,2"}
    assert.equal(await numberAfter(`${ASK} drop $http_headers $length i32.wrap_i64`, [answerOf("", "200", ...fields)]), 13);
    assert.equal(await numberAfter(`${ASK} $length i32.wrap_i64`, [answerOf("12345")]), 5);
    assert.equal(await numberAfter(`${ASK} i32.wrap_i64`, [answerOf("")]), 0);
    const before = `$http_status_code $http_headers i32.wrap_i64 i32.add ${ASK} drop`;
    assert.equal(await numberAfter(before, [answerOf("", "404")]), 0);
    const { bench, module } = await run({ exports: { on_request: `$http_status_code local.set 1 ${ASK} drop local.get 1` } }, [
      answerOf("", "404"),
    ]);
    await assertServesWithout(bench, module);
  });

  async function assertServesWithout(bench: ExtismBench, module: FilterModule): Promise<void> {
    const next = bench.exchange([module]);
    next.chain.requestHead(true);
    await answer(next, answerOf(""));
    assert.deepEqual(next.events, ['request head "" end']);
  }

  test("several calls in one callback, each with its answer, up to the budget", async () => {
    const twice = `${STATUS} ${STATUS} i32.add`;
    assert.equal(await numberAfter(twice, [answerOf("", "201"), answerOf("", "404")]), 605);
    const { exchange, module } = await run(twice, [answerOf("")], { budget: { callouts: 1 } });
    assert.match(failureOf(exchange), /more than 1 calls of http_request in one callback/);
    assert.equal(exchange.callouts.length, 1);
    assert.equal(module.status().traps, 1);
  });

  test("callbacks that make no call pause for a moment and go on", async () => {
    const { exchange } = await run({ exports: { on_request: "i32.const 0", other: ASK.concat(" i32.wrap_i64") } }, []);
    assert.deepEqual(exchange.events, ['request head "" end']);
  });

  test("in answers and bodies as well; the other direction waits until one is through", async () => {
    const { bench, module } = await load({
      exports: { on_request_body: PASS_ON, on_response: PASS_ON, on_response_body: PASS_ON },
    });
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(false), "forward");
    assert.equal(exchange.chain.requestData(latin1Bytes("long"), true), "held");
    await settle();
    // An upstream that answers before it has the body.
    assert.equal(exchange.respond(200, [["content-length", "4"]], false), "held");
    await settle();
    assert.equal(exchange.callouts.length, 1);
    exchange.chain.responseData(latin1Bytes("said"), true);
    await answer(exchange, answerOf('{"body":"other"}'));
    await settle();
    assert.equal(exchange.callouts.length, 2);
    await answer(exchange, setting("answer"));
    assert.equal(exchange.callouts.length, 3);
    await answer(exchange, answerOf('{"body":"changed"}'));
    assert.deepEqual(
      exchange.events.filter((event) => !/^(pause|resume)/.test(event)),
      ['request "other" end', 'response head ""', 'response "changed" end'],
      failureOf(exchange),
    );
    assert.equal(exchange.response?.headers.get("x-user"), "answer");
    assert.equal(exchange.response?.headers.has("content-length"), false);
  });

  test("it answers itself by what the service says", async () => {
    const { exchange } = await run(PASS_ON, [answerOf('{"respond":{"status":403,"body":"no"}}')]);
    assert.deepEqual(exchange.events, ["respond 403"]);
    assert.equal(latin1Text(exchange.localResponse?.body ?? new Uint8Array()), "no");
  });

  test("variables, log and fuel are those of one callback", async () => {
    const plugin = {
      exports: { on_request: `$text $text $var_set ${ASK} drop $text $log_info $text $var_get $length i32.wrap_i64` },
    };
    const { exchange, bench, module } = await run(plugin, [answerOf("")]);
    assert.match(failureOf(exchange), new RegExp(`it answered ${REQUEST.length}\\)`));
    assert.deepEqual(bench.log.lines, [`info ${REQUEST}`]);
    assert.equal(module.status().traps, 0);
    assert.ok(module.status().callbackFuelMost ?? 0 > 1_000);
  });
});

describe("extism http_request: many at a time", () => {
  test("each exchange has an instance while it waits, and more than there may be wait for one", async () => {
    const { bench, module } = await load(PASS_ON);
    const most = EXTISM_LIMITS.instances;
    const all = Array.from({ length: most + 6 }, () => bench.exchange([module]));
    for (const each of all) assert.equal(each.chain.requestHead(true), "held");
    // The first one was there; making one takes its time, and one a turn of the loop is enough.
    for (const made of [2, most, most]) {
      await settle();
      assert.equal(all.filter((each) => each.callouts.length === 1).length, made);
      await turns(bench, most);
    }
    assert.equal(module.status().instances, most);
    // Two that wait go away, the last one is never served.
    all[most]?.chain.close();
    all[most + 5]?.chain.close();
    for (const [i, each] of all.entries()) await answer(each, setting(`user-${i}`));
    const users = all.map((each) => each.request.headers.get("x-user"));
    assert.deepEqual(
      users,
      all.map((_, i) => (i === most || i === most + 5 ? undefined : `user-${i}`)),
    );
    for (const each of all) each.chain.close();
    assert.deepEqual([module.status().contexts, module.status().traps, module.status().instances], [0, 0, most]);
    await assertServes(bench, module);
  });

  test("so many may wait, and one more gets onFailure", async () => {
    const { bench, module } = await load(PASS_ON);
    const all = Array.from({ length: EXTISM_LIMITS.instances + EXTISM_LIMITS.waiting }, () => bench.exchange([module]));
    for (const each of all.slice(0, EXTISM_LIMITS.instances)) each.chain.requestHead(true);
    await turns(bench, EXTISM_LIMITS.instances);
    for (const each of all.slice(EXTISM_LIMITS.instances)) assert.equal(each.chain.requestHead(true), "held");
    const oneMore = bench.exchange([module]);
    assert.equal(oneMore.chain.requestHead(true), "failed");
    assert.match(failureOf(oneMore), /more than 1024 exchanges wait for an instance/);
    assert.equal(bench.metrics.stats.faults.get("budget"), 1);
    // The last first: who only waits is forgotten, and who is in an instance leaves that when its answer is there.
    for (const each of all.toReversed()) each.chain.close();
    for (const each of all.slice(0, EXTISM_LIMITS.instances)) each.callouts[0]?.done(answerOf(""));
    await settle();
    assert.deepEqual([module.status().contexts, module.status().instances], [0, EXTISM_LIMITS.instances]);
    await assertServes(bench, module);
  });

  test("one that waits too long for an instance, or for its answer, gets onFailure by the deadline of pauses", async () => {
    const { bench, module } = await load(PASS_ON);
    const most = EXTISM_LIMITS.instances;
    const all = Array.from({ length: most + 1 }, () => bench.exchange([module]));
    for (const each of all) each.chain.requestHead(true);
    await settle();
    bench.clock.advance(6_000);
    await settle();
    for (const each of all) assert.deepEqual(each.events, ["fail filter_timeout"]);
    for (const each of all.slice(0, most)) await answer(each, undefined);
    assert.deepEqual([module.status().contexts, module.status().instances, module.status().traps], [0, most, 0]);
    await assertServes(bench, module);
  });

  test("who waits for an instance is told at once when the filter is switched off", async () => {
    const { bench, module } = await load(PASS_ON);
    const all = Array.from({ length: EXTISM_LIMITS.instances + 1 }, () => bench.exchange([module]));
    for (const each of all) each.chain.requestHead(true);
    await turns(bench, all.length);
    module.control("disable");
    await settle();
    assert.deepEqual(all.at(-1)?.events.length, 1);
  });

  test("reload: what has begun is finished by the old module, which is freed then", async () => {
    const { bench, module } = await load(PASS_ON);
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    await settle();
    module.dispose();
    await answer(exchange, setting("old"));
    assert.equal(exchange.request.headers.get("x-user"), "old");
    assert.equal(module.status().instances, 1);
    exchange.chain.close();
    assert.deepEqual([module.status().instances, module.status().contexts], [0, 0]);
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
  });

  test("isolated: each exchange keeps its instance, which is put back, also one that was left in the middle", async () => {
    // How often it ran, in its own memory.
    const count = `i32.const 4096 i32.const 4096 i32.load i32.const 1 i32.add i32.store ${ASK} drop i32.const 4096 i32.load`;
    const { bench, module } = await load(count, { isolated: true });
    for (let i = 0; i < 3; i++) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await answer(exchange, answerOf(""));
      assert.match(failureOf(exchange), /it answered 1\)/);
      exchange.chain.close();
      assert.equal(module.status().instances, 1);
    }
    const gone = bench.exchange([module]);
    gone.chain.requestHead(true);
    gone.chain.close();
    await settle();
    const next = bench.exchange([module]);
    next.chain.requestHead(true);
    assert.equal(module.status().instances, 2, "the other one is still in use");
    await answer(gone, answerOf(""));
    await answer(next, answerOf(""));
    next.chain.close();
    assert.deepEqual([module.status().instances, module.status().contexts, module.status().traps], [2, 0, 0]);
    for (const each of [bench.exchange([module]), bench.exchange([module])]) {
      each.chain.requestHead(true);
      await answer(each, answerOf(""));
      assert.match(failureOf(each), /it answered 1\)/);
    }
  });
});

/** How often it was instantiated. */
const starts = (bench: ExtismBench): number => bench.log.lines.filter((line) => line.endsWith("configured")).length;
const CONFIGURED = { text: `configured${REQUEST}` };
const SAY_START = "i32.const 0 i32.const 10 $copy $log_info i32.const 0";
/** `ASK` where the text begins with that word. */
const ASK_BEHIND = `i32.const 10 i32.const ${REQUEST.length} $copy i64.const 0 $http_request`;

describe("extism http_request: calls that are lost cost no instance", () => {
  test("clients that go away while it waits: the instance ends what it began, and serves others", async () => {
    const body = `${ASK_BEHIND} local.tee 0 local.get 0 $length $output_set i32.const 0`;
    const { bench, module } = await load({ ...CONFIGURED, exports: { on_configure: SAY_START, on_request: body } });
    for (let i = 0; i < 200; i++) {
      const gone = bench.exchange([module]);
      assert.equal(gone.chain.requestHead(true), "held");
      await settle();
      gone.chain.close();
      // Another one meanwhile.
      const other = bench.exchange([module]);
      other.chain.requestHead(true);
      await answer(other, setting("other"));
      assert.equal(other.request.headers.get("x-user"), "other", failureOf(other));
      other.chain.close();
      await answer(gone, i % 2 === 0 ? undefined : setting("gone"));
      assert.deepEqual([gone.events, gone.request.headers.has("x-user")], [[], false]);
      bench.clock.advance(10);
    }
    assert.deepEqual([starts(bench), module.status().instances, module.status().contexts, module.status().traps], [2, 2, 0, 0]);
  });

  test("services without an answer, and calls beyond the limits: the plug-in sees 503 and ends, and its callback fails", async () => {
    // What it says does not count.
    const body = `${ASK_BEHIND} drop $http_status_code i32.const 503 i32.ne if unreachable end ${ASK_BEHIND} drop i32.const 0`;
    const limits = { ...DEFAULT_CALLOUT_LIMITS, perSecond: 100 };
    const { bench, module } = await load(
      { ...CONFIGURED, exports: { on_configure: SAY_START, on_request: body } },
      { capabilities: { calloutLimits: { "default/aside": limits } } },
    );
    for (let i = 0; i < 200; i++) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await settle();
      for (const [at] of exchange.callouts.entries()) await answer(exchange, undefined, at);
      if (exchange.callouts.length === 1) await answer(exchange, undefined);
      assert.deepEqual(exchange.events, ["fail filter_failed"]);
      exchange.chain.close();
    }
    assert.deepEqual([starts(bench), module.status().instances, module.status().traps], [1, 1, 0]);
    assert.equal(bench.metrics.stats.faults.get("callout"), 200);
  });

  test("plug-ins that break at that: so many new instances a second", async () => {
    const { bench, module } = await load({
      ...CONFIGURED,
      exports: { on_configure: SAY_START, on_request: `${ASK_BEHIND} drop unreachable` },
    });
    const lose = async (): Promise<void> => {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await turns(bench, 1);
      if (exchange.callouts.length > 0) await answer(exchange, undefined);
      assert.match(failureOf(exchange), /^filter_failed/);
      exchange.chain.close();
    };
    for (let i = 0; i < 200; i++) await lose();
    assert.equal(starts(bench), EXTISM_LIMITS.lossesPerSecond + 1);
    bench.clock.advance(1_000);
    for (let i = 0; i < 200; i++) await lose();
    assert.equal(starts(bench), 2 * (EXTISM_LIMITS.lossesPerSecond + 1));
    assert.deepEqual([module.status().traps, module.status().quarantined], [0, false]);
  });

  test("while no new one may come, callbacks wait for one that is left", async () => {
    const body = `${ASK_BEHIND} drop $http_status_code i32.const 503 i32.eq if unreachable end i32.const 0`;
    const { bench, module } = await load({ ...CONFIGURED, exports: { on_configure: SAY_START, on_request: body } });
    const all = Array.from({ length: EXTISM_LIMITS.lossesPerSecond + 2 }, () => bench.exchange([module]));
    for (const each of all) each.chain.requestHead(true);
    await turns(bench, all.length);
    const [left, ...lost] = all;
    for (const each of lost) await answer(each, undefined);
    assert.equal(module.status().instances, 1);
    const waits = bench.exchange([module]);
    assert.equal(waits.chain.requestHead(true), "held");
    await settle();
    assert.deepEqual(waits.callouts, []);
    await answer(left as TestExchange, answerOf(""));
    assert.equal(waits.callouts.length, 1);
    // Or for the time when new ones may come again, though nothing else happens then.
    const next = bench.exchange([module]);
    assert.equal(next.chain.requestHead(true), "held");
    await settle();
    assert.deepEqual(next.callouts, []);
    bench.clock.advance(1_000);
    await settle();
    assert.equal(next.callouts.length, 1);
    await answer(waits, answerOf(""));
    assert.deepEqual(waits.events, ['request head "" end'], failureOf(waits));
  });
});

describe("extism http_request: an exchange that is gone while it waits", () => {
  test("callers that go away take no instance from others, whatever the plug-in does afterwards", async () => {
    const { bench, module } = await load(`${ASK} drop ${PASS_ON}`);
    for (let i = 0; i < 50; i++) {
      const gone = bench.exchange([module]);
      gone.chain.requestHead(true);
      await turns(bench, 1);
      gone.chain.close();
      await answer(gone, setting("late"));
      const served = bench.exchange([module]);
      assert.equal(served.chain.requestHead(true), "held");
      await turns(bench, 1);
      await answer(served, answerOf(""));
      await answer(served, setting("ann"));
      assert.equal(served.request.headers.get("x-user"), "ann", failureOf(served));
      served.chain.close();
    }
    assert.deepEqual([module.status().instances, module.status().traps, bench.metrics.stats.faults.size], [1, 0, 0]);
  });

  for (const isolated of [false, true]) {
    test(`it asks nobody any more, has an end and pays for what it uses (isolated: ${isolated})`, async () => {
      const late = `${PASS_ON} drop ${ASK} drop $text $log_warn i32.const 0`;
      const { bench, module } = await load(late, {
        isolated,
        capabilities: { calloutLimits: { "default/aside": { ...DEFAULT_CALLOUT_LIMITS, concurrent: 1 } } },
      });
      for (let i = 0; i < 3; i++) {
        const exchange = bench.exchange([module]);
        assert.equal(exchange.chain.requestHead(true), "held");
        await turns(bench, 1);
        // Only one call may be under way: the one before has ended.
        assert.equal(exchange.callouts.length, 1, failureOf(exchange));
        exchange.chain.close();
        await settle();
        await answer(exchange, setting("late"));
        assert.deepEqual(exchange.events, []);
        assert.equal(exchange.callouts.length, 1);
        assert.deepEqual([module.status().instances, module.status().contexts], [1, 0]);
      }
      // What it does besides, it does to the end.
      assert.equal(bench.log.lines.length, 3);
      assert.deepEqual(bench.metrics.traps, []);
      bench.clock.advance(10_000);
      module.dispose();
      assert.equal(bench.clock.pending, 0);
    });

    test(`an endless loop after it is an ordinary fault (isolated: ${isolated})`, async () => {
      const { bench, module } = await load(`${ASK} drop loop br 0 end i32.const 0`, { isolated });
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      await settle();
      exchange.chain.close();
      await answer(exchange, answerOf(""));
      assert.deepEqual([module.status().instances, module.status().traps], [0, 1]);
      assert.match(bench.metrics.traps[0] ?? "", /used up its fuel/);
      assert.ok((module.status().fuel ?? 0) >= DEFAULT_FILTER_BUDGET.callbackFuel);
    });
  }

  test("between its answer and the next step of the plug-in", async () => {
    const { bench, module } = await load(PASS_ON);
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    await settle();
    exchange.callouts[0]?.done(setting("late"));
    exchange.chain.close();
    await settle();
    assert.deepEqual(exchange.events, []);
    assert.equal(exchange.request.headers.has("x-user"), false);
    assert.deepEqual([module.status().traps, module.status().contexts], [0, 0]);
    await assertServes(bench, module);
  });
});

describe("extism http_request: another answer takes the place of the one that it is asked about", () => {
  const source = (name: string, others: string[] = []) => ({
    text: REQUEST,
    exports: Object.fromEntries([[name, PASS_ON], ...others.map((each) => [each, "i32.const 1"])]),
  });

  test("while it waits for its turn behind the request: it is not asked any more", async () => {
    const { bench, module } = await load(source("on_request", ["on_response"]));
    const exchange = bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "held");
    await settle();
    assert.equal(exchange.respond(200, [], true), "held");
    assert.equal(exchange.respond(503, [], true), "forward");
    await answer(exchange, setting("ann"));
    // `on_response` would have failed.
    assert.deepEqual([exchange.events, failureOf(exchange)], [['request head "" end'], "none"]);
    assert.deepEqual([...module.stats.faults], []);
    exchange.chain.close();
    assert.equal(module.status().contexts, 0);
  });

  test("while it waits for its service: what it then says is for nobody", async () => {
    for (const says of ["set", "fail", "respond"]) {
      const { bench, module } = await load(source("on_response"));
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      assert.equal(exchange.respond(200, [], true), "held");
      await settle();
      assert.equal(exchange.respond(503, [], true), "forward");
      const fail = answerOf('{"fail":"no"}');
      const respond = answerOf('{"respond":{"status":418}}');
      await answer(exchange, says === "set" ? setting("ann") : says === "fail" ? fail : respond);
      assert.deepEqual([exchange.events, failureOf(exchange)], [[], "none"], says);
      assert.deepEqual([exchange.response?.status, exchange.response?.headers.entries()], [503, []], says);
      exchange.chain.close();
      assert.deepEqual([module.status().contexts, module.status().instances], [0, 1]);
    }
  });
});
