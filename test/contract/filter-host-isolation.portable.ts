// Invariant: of what an exchange leaves in an isolated filter, the next one sees nothing; the same guests leave it when they are not.
import assert from "node:assert/strict";
import { latin1Bytes, latin1Text } from "../../src/core/bytes.ts";
import type { VirtualClock } from "../../src/core/clock.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { SharedNamespace } from "../../src/filters/guest/shared.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { ComponentBench } from "../kit/component.ts";
import { ExtismBench, PDK_ACTOR } from "../kit/extism.ts";
import { FilterBench, filterConfig, settle, type TestExchange } from "../kit/filters.ts";
import { LEAKS, leakyComponent, leakyPlugin, leakyProxyWasm } from "../kit/leaks.ts";
import { OUT_A, OUT_B, OUT_C, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/** A loaded filter, and what one exchange saw: `0` is nothing, another number something, a text why it failed. */
interface Leaking {
  readonly clock: VirtualClock;
  readonly module: FilterModule;
  open(): TestExchange;
  seen(exchange: TestExchange): string;
}

/** Runs the request's head; what the guest logged meanwhile. */
function loggedBy(bench: FilterBench | ExtismBench, exchange: TestExchange): string {
  const before = bench.log.lines.length;
  if (exchange.chain.requestHead(true) === "failed") return "failed";
  return String(
    bench.log.lines
      .slice(before)
      .find((line) => /^info .$/.test(line))
      ?.at(-1),
  );
}

const ABIS: readonly (readonly [name: string, load: (leak: (typeof LEAKS)[number], isolated: boolean) => Promise<Leaking>])[] = [
  [
    "proxy-wasm",
    async (leak, isolated) => {
      const bench = new FilterBench();
      const module = await bench.load(filterConfig({ isolated }), leakyProxyWasm(leak));
      return { module, clock: bench.clock, open: () => bench.exchange([module]), seen: (exchange) => loggedBy(bench, exchange) };
    },
  ],
  [
    "extism",
    async (leak, isolated) => {
      const bench = new ExtismBench();
      const module = await bench.load(leakyPlugin(leak), { isolated });
      return { module, clock: bench.clock, open: () => bench.exchange([module]), seen: (exchange) => loggedBy(bench, exchange) };
    },
  ],
  [
    "component",
    async (leak, isolated) => {
      const bench = new ComponentBench();
      const module = await bench.load(filterConfig({ abi: "component", isolated }), leakyComponent(leak));
      const seen = (exchange: TestExchange): string => {
        if (exchange.chain.requestHead(true) === "failed") return "failed";
        return String(exchange.request.headers.get("x-added")?.length);
      };
      return { module, clock: bench.clock, open: () => bench.exchange([module]), seen };
    },
  ],
];

for (const [name, load] of ABIS) {
  describe(`isolated, ${name}: nothing stays in an instance`, () => {
    for (const leak of LEAKS) {
      test(leak.name, async () => {
        for (const isolated of [false, true]) {
          const { module, clock, open, seen } = await load(leak, isolated);
          const saw = Array.from({ length: 3 }, () => {
            const exchange = open();
            const answer = seen(exchange);
            exchange.chain.close();
            // One new instance a turn of the loop.
            clock.advance(0);
            return answer;
          });
          assert.equal(saw[0], "0");
          if (isolated) assert.deepEqual(saw, ["0", "0", "0"]);
          else assert.notEqual(saw[1], "0", "it does not leak, so this shows nothing");
          const { instances, traps } = module.status();
          if (isolated) assert.deepEqual([instances, traps], [leak.isFinal === true ? 0 : 1, 0]);
          module.dispose();
        }
      });
    }

    test("several exchanges at once, in any order", async () => {
      const { module, clock, open, seen } = await load(LEAKS[0] as (typeof LEAKS)[number], true);
      const exchanges = Array.from({ length: 8 }, open);
      for (const exchange of exchanges) {
        assert.equal(seen(exchange), "0");
        clock.advance(0);
      }
      assert.equal(module.status().instances, 8);
      for (const i of [7, 0, 3]) exchanges[i]?.chain.close();
      for (let i = 0; i < 3; i++) assert.equal(seen(open()), "0");
      assert.equal(module.status().instances, 8);
    });

    test("an exchange that trapped in the middle", async () => {
      const leave = "i32.const 20000 i32.const 1 i32.store8 i32.const 1 global.set 0 unreachable";
      const see = "i32.const 20000 i32.load8_u global.get 0 i32.or";
      const { open, seen, module } = await load({ name: "", see, leave }, true);
      for (let i = 0; i < 2; i++) {
        const exchange = open();
        // It logs first; a component's field is there as well.
        assert.equal(seen(exchange), "failed");
        assert.notEqual(exchange.request.headers.get("x-added"), "y");
        exchange.chain.close();
      }
      assert.equal(module.status().instances, 0);
    });
  });
}

const put = (guest: PuppetGuest, text: string): [number, number] => [guest.put(text), text.length];

describe("isolated, proxy-wasm: nothing stays with the host", () => {
  const shared = (value: string, found: string[]) =>
    function* (guest: PuppetGuest): ReturnType<Script> {
      const status = yield guest.host("proxy_get_shared_data", ...put(guest, "key"), OUT_A, OUT_B, OUT_C);
      found.push(status === abi.OK ? guest.given(OUT_A, OUT_B) : String(status));
      yield guest.host("proxy_set_shared_data", ...put(guest, "key"), ...put(guest, value), 0);
      return 0;
    };

  test("shared data of its own; granted data stays", async () => {
    for (const sharedData of [undefined, "granted"]) {
      const bench = new FilterBench();
      const found: string[] = [];
      bench.puppet.on("configure", function* (guest) {
        yield guest.host("proxy_set_shared_data", ...put(guest, "key"), ...put(guest, "start"), 0);
        return 1;
      });
      const capabilities = { ...filterConfig().capabilities, sharedData };
      const module = await bench.load(filterConfig({ isolated: true, capabilities }));
      for (const value of ["one", "two"]) {
        bench.puppet.on("request_headers", shared(value, found));
        const { chain } = bench.exchange([module]);
        chain.requestHead(true);
        chain.close();
      }
      assert.deepEqual(found, sharedData === undefined ? ["start", "start"] : ["start", "one"]);
    }
  });

  test("items of queues of its own, and their word", async () => {
    const bench = new FilterBench();
    const seen: number[] = [];
    bench.puppet.on("configure", function* (guest) {
      yield guest.host("proxy_register_shared_queue", ...put(guest, "queue"), OUT_A);
      return 1;
    });
    bench.puppet.on("request_headers", function* (guest) {
      seen.push(yield guest.host("proxy_dequeue_shared_queue", 1, OUT_A, OUT_B));
      yield guest.host("proxy_enqueue_shared_queue", 1, ...put(guest, "secret"));
      return 0;
    });
    const module = await bench.load(filterConfig({ isolated: true }));
    for (let i = 0; i < 2; i++) {
      const { chain } = bench.exchange([module]);
      chain.requestHead(true);
      chain.close();
      await settle();
    }
    assert.deepEqual(seen, [abi.EMPTY, abi.EMPTY]);
    assert.equal(bench.puppet.entered.includes("queue_ready"), false);
  });

  test("metrics count, none is read back, and ids begin again", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      assert.equal(yield guest.host("proxy_define_metric", 0, ...put(guest, "known"), OUT_A), abi.OK);
      return 1;
    });
    const ids: number[] = [];
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield guest.host("proxy_define_metric", 0, ...put(guest, `new ${ids.length}`), OUT_A), abi.OK);
      ids.push(guest.u32(OUT_A));
      assert.equal(yield guest.host("proxy_increment_metric", guest.u32(OUT_A), 1n), abi.OK);
      assert.equal(yield guest.host("proxy_increment_metric", 3, 1n), abi.NOT_FOUND, "of another exchange");
      assert.equal(yield guest.host("proxy_define_metric", 0, ...put(guest, "known"), OUT_A), abi.OK);
      const id = guest.u32(OUT_A);
      assert.equal(yield guest.host("proxy_increment_metric", id, 5n), abi.OK);
      assert.equal(yield guest.host("proxy_get_metric", id, OUT_A), abi.NOT_FOUND);
      return 0;
    });
    const module = await bench.load(filterConfig({ isolated: true }));
    for (let i = 0; i < 2; i++) {
      const { chain } = bench.exchange([module]);
      chain.requestHead(true);
      chain.close();
    }
    for (const error of bench.puppet.errors) throw error;
    assert.deepEqual(ids, [2, 2]);
    assert.deepEqual([...bench.metrics.values.values()], [10, 1, 1]);
  });

  test("a call-out that it made for nobody, its id, and its answer", async () => {
    const bench = new FilterBench();
    const ids: number[] = [];
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield guest.host("proxy_set_effective_context", 1), abi.OK);
      const pairs = [
        [":method", "GET"],
        [":path", "/"],
        [":authority", "auth"],
      ] as const;
      const call = [...put(guest, "auth"), ...guest.putPairs(pairs), 0, 0, 0, 0, 1000, OUT_A] as const;
      assert.equal(yield guest.host("proxy_http_call", ...call), abi.OK);
      ids.push(guest.u32(OUT_A));
      return 0;
    });
    const capabilities = { ...filterConfig().capabilities, callouts: ["default/auth"] };
    const module = await bench.load(filterConfig({ isolated: true, capabilities }));
    const first = bench.exchange([module]);
    first.chain.requestHead(true);
    first.chain.close();
    const second = bench.exchange([module]);
    second.chain.requestHead(true);
    for (const error of bench.puppet.errors) throw error;
    assert.deepEqual(ids, [1, 1]);
    const answer = { headers: HeaderBlock.from([[":status", "200"]]), body: new Uint8Array(0), trailers: undefined };
    bench.rootCallouts[0]?.done(answer);
    assert.equal(bench.puppet.entered.includes("http_call_response"), false, "the first one's answer");
    bench.rootCallouts[1]?.done(answer);
    assert.equal(bench.puppet.entered.includes("http_call_response"), true, "its own");
  });

  test("a context that says it is not done", async () => {
    const bench = new FilterBench();
    bench.puppet.on("done", function* () {
      yield* [];
      return 0;
    });
    const module = await bench.load(filterConfig({ isolated: true }));
    const { chain } = bench.exchange([module]);
    chain.requestHead(true);
    chain.log();
    chain.close();
    assert.deepEqual(bench.puppet.entered.slice(3), ["context_create", "request_headers", "done", "log", "delete"]);
    assert.equal(module.status().contexts, 0);
  });
});

/** Where scripts of the puppet keep something in its memory. */
const CELL = 30_000;

describe("isolated, proxy-wasm: ticks and pauses", () => {
  async function ticking(): Promise<{ bench: FilterBench; module: FilterModule; seen: number[] }> {
    const bench = new FilterBench();
    const seen: number[] = [];
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 100);
        return 1;
      })
      .on("tick", function* (guest) {
        yield* [];
        guest.memory.writeUInt32LE(guest.u32(CELL) + 1, CELL);
        return 0;
      })
      .on("request_headers", function* (guest) {
        seen.push(guest.u32(CELL));
        // Ticks that an exchange asks for do not come.
        yield guest.host("proxy_set_tick_period_milliseconds", 1);
        guest.memory.writeUInt32LE(1000, CELL);
        return 1;
      });
    return { bench, module: await bench.load(filterConfig({ isolated: true })), seen };
  }

  test("what a tick writes is there for every exchange after it", async () => {
    const { bench, module, seen } = await ticking();
    bench.clock.advance(200);
    for (let i = 0; i < 2; i++) {
      const { chain } = bench.exchange([module]);
      chain.requestHead(true);
      chain.close();
    }
    bench.clock.advance(100);
    bench.exchange([module]).chain.requestHead(true);
    assert.deepEqual(seen, [2, 2, 3]);
  });

  test("a tick that comes while an exchange waits runs after it, and does not see it", async () => {
    const { bench, module, seen } = await ticking();
    const paused = bench.exchange([module]);
    paused.chain.requestHead(true);
    bench.clock.advance(300);
    assert.equal(bench.puppet.entered.includes("tick"), false);
    paused.chain.close();
    await settle();
    bench.exchange([module]).chain.requestHead(true);
    assert.deepEqual(seen, [0, 1]);
    assert.equal(module.status().instances, 1);
  });

  test("an exchange that is paused finds its own state when it goes on", async () => {
    const bench = new FilterBench();
    const seen: number[] = [];
    bench.puppet
      .on("request_headers", function* (guest, id) {
        yield* [];
        guest.memory.writeUInt32LE((id ?? 0) * 10, CELL);
        return 1;
      })
      .on("response_headers", function* (guest) {
        yield* [];
        seen.push(guest.u32(CELL));
        return 0;
      });
    const module = await bench.load(filterConfig({ isolated: true, budget: { pauseMs: 1000 } }));
    const [a, b] = [bench.exchange([module]), bench.exchange([module])];
    for (const { chain } of [a, b]) chain.requestHead(true);
    b.chain.close();
    const c = bench.exchange([module]);
    c.chain.requestHead(true);
    for (const exchange of [c, a]) exchange.respond(200, [], true);
    assert.deepEqual(seen, [30, 20]);
  });

  test("counters in its memory count on", async () => {
    const bench = new FilterBench();
    bench.puppet
      .on("configure", function* (guest) {
        yield guest.host("proxy_define_metric", 0, ...put(guest, "mapped"), OUT_A);
        const argument = Buffer.alloc(8);
        argument.writeUInt32LE(guest.u32(OUT_A), 0);
        argument.writeUInt32LE(CELL, 4);
        const name = "selvedge.map_counter";
        const call = [...put(guest, name), guest.put(argument), 8, OUT_B, OUT_C] as const;
        assert.equal(yield guest.host("proxy_call_foreign_function", ...call), abi.OK);
        return 1;
      })
      .on("request_headers", function* (guest) {
        yield* [];
        guest.memory.writeUInt32LE(guest.u32(CELL) + 3, CELL);
        return 0;
      });
    const module = await bench.load(filterConfig({ isolated: true }));
    for (let i = 0; i < 4; i++) {
      const { chain } = bench.exchange([module]);
      chain.requestHead(true);
      chain.close();
    }
    bench.metrics.pull();
    for (const error of bench.puppet.errors) throw error;
    assert.deepEqual([...bench.metrics.values.values()], [12]);
  });
});

describe("isolated, other ABIs: nothing stays with the host", () => {
  test("extism: variables, unless they are granted", async () => {
    for (const sharedData of [undefined, "granted"]) {
      const bench = new ExtismBench();
      const capabilities = { ...filterConfig().capabilities, sharedData };
      const module = await bench.load(PDK_ACTOR, { isolated: true, capabilities, settings: '{"count":"yes"}' });
      const counts = [0, 1, 2].map(() => {
        const exchange = bench.exchange([module]);
        exchange.chain.requestHead(true);
        exchange.chain.close();
        return exchange.request.headers.get("x-seen")?.at(-1);
      });
      assert.deepEqual(counts, sharedData === undefined ? ["1", "1", "1"] : ["1", "2", "3"]);
    }
  });

  test("component: shared data, its own heap, metrics", async () => {
    const bench = new ComponentBench();
    const lines = { "request-head": "shared-get k; shared-set k v; alive; count hits 1; print x", "response-head": "alive" };
    const module = await bench.actor(lines, { isolated: true });
    const said = [0, 1].map(() => {
      const before = bench.said.length;
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      exchange.respond(200, [], true);
      exchange.chain.close();
      return bench.said.slice(before);
    });
    assert.deepEqual(said[0]?.slice(0, 2), ["shared-get k: none", "shared-set k v: ok"]);
    assert.deepEqual(said[1], said[0]);
    assert.deepEqual([...bench.metrics.values.values()], [2]);
    assert.deepEqual([module.status().instances, module.status().traps], [1, 0]);
  });

  test("shared data of an instance's own is put back key by key, however often it is kept and put back", () => {
    const namespace = new SharedNamespace();
    const { budget } = filterConfig();
    const set = (key: string, text: string): number => namespace.set(key, latin1Bytes(text), 0, budget);
    const held = (): readonly unknown[] => [
      ["changed", "deleted", "same", "new"].map((key) => latin1Text(namespace.get(key)?.value ?? latin1Bytes("-"))),
      ...[namespace.keys, namespace.bytes],
    ];
    const spoil = (): void => {
      for (const text of ["x", "longer"]) set("changed", text);
      namespace.delete("deleted");
      set("new", "n");
      namespace.delete("new");
      set("new", "again");
      set("deleted", "back");
      namespace.delete("deleted");
    };
    for (const key of ["changed", "deleted", "same"]) set(key, "1");
    for (const round of [1, 2, 3]) {
      namespace.keep();
      const kept = held();
      for (let i = 0; i < 2; i++) {
        spoil();
        assert.notDeepEqual(held(), kept);
        namespace.restore();
        assert.deepEqual(held(), kept, `round ${round}`);
        assert.equal(namespace.set("same", latin1Bytes("1"), namespace.get("same")?.cas ?? 0, budget), abi.OK);
        namespace.restore();
      }
      spoil();
      set("deleted", `${round}`);
    }
  });
});
