import assert from "node:assert/strict";
import { latin1Bytes, utf8Text } from "../../src/core/bytes.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterBench, filterConfig } from "../kit/filters.ts";
import { OUT_A, OUT_B, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/** Hostile filters for what reaches beyond the exchange, as proxy-wasm guests; see filter-capabilities.portable.ts. */

describe("capabilities: beyond the exchange", () => {
  const draw = function* (guest: PuppetGuest): Generator<ReturnType<PuppetGuest["host"]>, string, number> {
    const status = yield guest.host("random_get", OUT_A, 8);
    return `${status} ${guest.u64(OUT_A)}`;
  };

  test("random: a fixed sequence while it starts, then an error; granted: never the same", async () => {
    for (const random of [false, true]) {
      const started: string[] = [];
      const later: string[] = [];
      for (let i = 0; i < 2; i++) {
        const bench = new FilterBench();
        bench.puppet.on("configure", function* (guest) {
          started.push(yield* draw(guest), yield* draw(guest));
          return 1;
        });
        bench.puppet.on("request_headers", function* (guest) {
          guest.memory.writeBigUInt64LE(7n, OUT_A);
          later.push(yield* draw(guest));
          return 0;
        });
        bench.exchange([await bench.load(filterConfig({ capabilities: { random } }))]).chain.requestHead(true);
        assert.deepEqual(Object.fromEntries(bench.metrics.denied), random ? {} : { random: 1 });
      }
      assert.ok(started.every((each) => each.startsWith("0 ")));
      assert.notEqual(started[0], started[1]);
      assert.equal(started[0] === started[2] && started[1] === started[3], !random);
      if (random) assert.notEqual(later[0], later[1]);
      else assert.deepEqual(later, [`${abi.WASI_NOTCAPABLE} 7`, `${abi.WASI_NOTCAPABLE} 7`]);
    }
  });

  const call = function* (guest: PuppetGuest, service: string, timeoutMs = 1000): ReturnType<Script> {
    const [at, size] = guest.putPairs([
      [":method", "GET"],
      [":path", "/"],
      [":authority", "a"],
    ]);
    const none = guest.putPairs([]);
    const name = guest.put(service);
    return yield guest.host("proxy_http_call", name, service.length, at, size, 0, 0, none[0], none[1], timeoutMs, OUT_A);
  };

  test("callouts: other services, one too many at a time and per second; time and answer are cut to what is granted", async () => {
    const calloutLimits = { "default/auth": { concurrent: 2, perSecond: 3, timeoutMs: 500, answerBytes: 10 } };
    const bench = new FilterBench();
    const statuses: (number | undefined)[] = [];
    bench.puppet.on("request_headers", function* (guest) {
      statuses.push(yield* call(guest, "bank"), yield* call(guest, "other/auth"));
      for (let i = 0; i < 3; i++) statuses.push(yield* call(guest, "auth", 60_000));
      return 0;
    });
    bench.puppet.on("response_headers", function* (guest) {
      for (let i = 0; i < 2; i++) statuses.push(yield* call(guest, "default/auth"));
      return 0;
    });
    const capabilities = { callouts: ["default/auth"], calloutLimits };
    const module = await bench.load(filterConfig({ capabilities }));
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    const { callouts } = exchange;
    assert.deepEqual(
      callouts.map(({ request }) => [request.timeoutMs, request.answerBytes]),
      [
        [500, 10],
        [500, 10],
      ],
    );
    for (const { done } of callouts) done(undefined);
    exchange.respond(200, [], true);
    assert.deepEqual(bench.puppet.errors, []);
    const [bad, no] = [abi.BAD_ARGUMENT, abi.INTERNAL_FAILURE];
    assert.deepEqual(statuses, [bad, bad, 0, 0, no, 0, no]);
    assert.deepEqual(Object.fromEntries(bench.metrics.denied), { callouts: 4 });
    // A cancelled one makes room as an answered one does; the next second has calls of its own.
    exchange.chain.close();
    bench.clock.advance(1000);
    const next = bench.exchange([module]);
    next.chain.requestHead(true);
    assert.deepEqual(statuses.slice(-5), [bad, bad, 0, 0, no]);
  });

  test("nats: only to granted subjects, so large and so many; not there without a grant or without NATS", async () => {
    const nats = { publish: ["shop.orders"], perSecond: 2, payloadBytes: 5 };
    const name = "selvedge.nats_publish";
    const say = function* (guest: PuppetGuest, message: string): Generator<ReturnType<PuppetGuest["host"]>, number, number> {
      const args = [guest.put(name), name.length, guest.put(message), message.length, 0, 0];
      return yield guest.host("proxy_call_foreign_function", ...args);
    };
    for (const [capabilities, connected, expected, denied] of [
      [{ nats: { ...nats, publish: [] } }, true, [1, 1, 1, 1, 1], { nats: 5 }],
      [{ nats }, "none", [10, 10, 2, 1, 1], { nats: 1 }],
      [{ nats }, false, [10, 10, 2, 10, 10], { nats: 1 }],
      [{ nats }, true, [10, 10, 2, 0, 0], { nats: 1 }],
    ] as const) {
      const bench = new FilterBench(connected === "none" ? undefined : () => connected);
      const statuses: number[] = [];
      bench.puppet.on("request_headers", function* (guest) {
        for (const text of ["selvedge.config.apply\0x", "shop.orders\0longer", "no end", "shop.orders\0hello", "shop.orders\0"])
          statuses.push(yield* say(guest, text));
        return 0;
      });
      bench.puppet.on("response_headers", function* (guest) {
        statuses.push(yield* say(guest, "shop.orders\0more"));
        return 0;
      });
      const exchange = bench.exchange([await bench.load(filterConfig({ capabilities }))]);
      exchange.chain.requestHead(true);
      assert.deepEqual(statuses, expected);
      assert.deepEqual(Object.fromEntries(bench.metrics.denied), denied);
      assert.deepEqual(
        bench.published,
        expected[3] === 0 ? ["default/puppet shop.orders hello", "default/puppet shop.orders "] : [],
      );
      if (expected[3] !== 0) continue;
      exchange.respond(200, [], true);
      assert.equal(statuses.at(-1), abi.INTERNAL_FAILURE);
      bench.clock.advance(1000);
      bench.exchange([await bench.load(filterConfig({ capabilities }))]).chain.requestHead(true);
      assert.equal(bench.published.length, 4);
    }
  });

  test("shared data and queues of others are out of reach", async () => {
    const bench = new FilterBench();
    const statuses: number[] = [];
    bench.puppet.on("request_headers", function* (guest) {
      statuses.push(yield guest.host("proxy_get_shared_data", guest.put("k"), 1, OUT_A, OUT_B, OUT_A + 8));
      statuses.push(yield guest.host("proxy_resolve_shared_queue", guest.put("team"), 4, guest.put("q"), 1, OUT_A));
      return 0;
    });
    const space = bench.shared.acquire("shared:team");
    space.set("k", latin1Bytes("secret"), 0, filterConfig().budget);
    for (const [sharedData, expected] of [
      [undefined, [abi.NOT_FOUND, abi.NOT_FOUND]],
      ["other", [abi.NOT_FOUND, abi.NOT_FOUND]],
      ["team", [0, abi.NOT_FOUND]],
    ] as const) {
      statuses.length = 0;
      bench.exchange([await bench.load(filterConfig({ capabilities: { sharedData } }))]).chain.requestHead(true);
      assert.deepEqual(statuses, expected);
    }
    assert.equal(utf8Text(space.get("k")?.value ?? new Uint8Array()), "secret");
    assert.deepEqual(Object.fromEntries(bench.metrics.denied), { sharedData: 2 });
  });
});
