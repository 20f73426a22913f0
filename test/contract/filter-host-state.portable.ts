import assert from "node:assert/strict";
import { type Bytes, EMPTY_BYTES, latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import type { CalloutAnswer, FilterModule } from "../../src/filters/contract.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterRegistry } from "../../src/filters/store.ts";
import { FilterBench, filterConfig, settle } from "../kit/filters.ts";
import { buildPuppet, type Command, OUT_A, OUT_B, OUT_C, type PuppetGuest, type Script } from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

const granted = (
  change: Partial<ReturnType<typeof filterConfig>["capabilities"]>,
): ReturnType<typeof filterConfig>["capabilities"] => ({
  ...filterConfig().capabilities,
  ...change,
});
const answerOf = (status: string, body: string): CalloutAnswer => ({
  headers: HeaderBlock.from([
    [":status", status],
    ["x-from", "auth"],
  ]),
  body: latin1Bytes(body),
  trailers: undefined,
});

/** Starts a call-out; the last pointer gets its id. */
function startCall(guest: PuppetGuest, service: string, change: { omit?: string } = {}): Command {
  const headers = [
    [":method", "GET"],
    [":path", "/check"],
    [":authority", "auth"],
    ["transfer-encoding", "chunked"],
  ] as const;
  const [at, size] = guest.putPairs(headers.filter(([name]) => name !== change.omit));
  return guest.host("proxy_http_call", guest.put(service), service.length, at, size, guest.put("body"), 4, 0, 0, 1500, OUT_A);
}
const callAndPause: Script = function* (guest) {
  assert.equal(yield startCall(guest, "auth"), abi.OK);
  return 1;
};
/** Looks at the answer, then resumes or denies the exchange of the newest stream context. */
const decide = (allow: () => boolean, contextId: () => number): Script =>
  function* (guest, root, call, headers, size, trailers) {
    assert.deepEqual([root, headers, size, trailers], [1, 2, 4, 0]);
    assert.ok((call ?? 0) > 0);
    assert.equal(yield guest.host("proxy_get_header_map_value", 6, guest.put(":status"), 7, OUT_A, OUT_B), abi.OK);
    assert.equal(guest.given(OUT_A, OUT_B), "200");
    assert.equal(yield guest.host("proxy_get_buffer_bytes", 4, 0, 99, OUT_A, OUT_B), abi.OK);
    assert.equal(guest.given(OUT_A, OUT_B), "okay");
    assert.equal(yield guest.host("proxy_get_header_map_size", 7, OUT_A), abi.OK);
    assert.equal(yield guest.host("proxy_continue_stream", 0), abi.BAD_ARGUMENT, "the plugin context has no stream");
    assert.equal(yield guest.host("proxy_set_effective_context", 99), abi.BAD_ARGUMENT);
    assert.equal(yield guest.host("proxy_set_effective_context", contextId()), abi.OK);
    if (allow()) {
      assert.equal(yield guest.host("proxy_add_header_map_value", 0, guest.put("x-ok"), 4, guest.put("1"), 1), abi.OK);
      assert.equal(yield guest.host("proxy_continue_stream", 0), abi.OK);
    } else assert.equal(yield guest.host("proxy_send_local_response", 401, 0, 0, 0, 0, 0, 0, -1), abi.OK);
    return 0;
  };

async function callingFilter(allow = true): Promise<{ bench: FilterBench; exchange: ReturnType<FilterBench["exchange"]> }> {
  const bench = new FilterBench();
  bench.puppet.on("request_headers", callAndPause).on(
    "http_call_response",
    decide(
      () => allow,
      () => 2,
    ),
  );
  const module = await bench.load(
    filterConfig({ capabilities: granted({ callouts: ["default/auth"] }), budget: { pauseMs: 1000 } }),
  );
  return { bench, exchange: bench.exchange([module]) };
}

describe("proxy-wasm: call-outs", () => {
  test("a paused request goes on, changed, when the answer says so", async () => {
    const { bench, exchange } = await callingFilter();
    assert.equal(exchange.chain.requestHead(true), "held");
    const { request, done } = exchange.callouts[0] ?? assert.fail("no call-out");
    assert.deepEqual([request.service, request.timeoutMs, Buffer.from(request.body).toString()], ["default/auth", 1500, "body"]);
    assert.equal(request.headers.get(":path"), "/check");
    assert.equal(request.headers.has("transfer-encoding"), false);
    done(answerOf("200", "okay"));
    assert.deepEqual(bench.puppet.errors, []);
    assert.deepEqual(exchange.events, ['request head "" end']);
    assert.equal(exchange.request.headers.get("x-ok"), "1");
    done(answerOf("200", "okay"));
    assert.equal(exchange.events.length, 1, "a second answer does nothing");
  });

  test("or is answered locally", async () => {
    const { bench, exchange } = await callingFilter(false);
    exchange.chain.requestHead(true);
    exchange.callouts[0]?.done(answerOf("200", "okay"));
    assert.deepEqual(bench.puppet.errors, []);
    assert.deepEqual(exchange.events, ["respond 401"]);
  });

  test("a failed call has no headers; an answer after the exchange, or after the pause, does nothing", async () => {
    const { bench, exchange } = await callingFilter();
    const failed: number[][] = [];
    bench.puppet.on("http_call_response", function* (_guest, ...parameters) {
      yield* [];
      failed.push(parameters.slice(2));
      return 0;
    });
    exchange.chain.requestHead(true);
    exchange.callouts[0]?.done(undefined);
    assert.deepEqual(failed, [[0, 0, 0]]);
    for (const end of ["close", "timeout"] as const) {
      const other = await callingFilter();
      other.exchange.chain.requestHead(true);
      if (end === "close") other.exchange.chain.close();
      else other.bench.clock.advance(2000);
      const events = other.exchange.events.length;
      assert.equal(other.exchange.callouts[0]?.cancelled, true, end);
      other.bench.puppet.entered.length = 0;
      other.exchange.callouts[0]?.done(answerOf("200", "okay"));
      assert.equal(other.exchange.events.length, events);
      assert.deepEqual(other.bench.puppet.entered, []);
    }
  });

  test("services that are not granted, missing pseudo headers, too many at once", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield startCall(guest, "other"), abi.BAD_ARGUMENT);
      assert.equal(yield startCall(guest, "auth/"), abi.BAD_ARGUMENT);
      for (const omit of [":method", ":path", ":authority"])
        assert.equal(yield startCall(guest, "auth", { omit }), abi.BAD_ARGUMENT);
      assert.equal(yield startCall(guest, "auth"), abi.OK);
      assert.equal(yield startCall(guest, "default/auth"), abi.OK);
      assert.equal(yield startCall(guest, "auth"), abi.INTERNAL_FAILURE);
      return 0;
    });
    const capabilities = granted({ callouts: ["default/auth"] });
    bench.exchange([await bench.load(filterConfig({ capabilities, budget: { callouts: 2 } }))]).chain.requestHead(true);
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("a tick may call out on behalf of the plugin", async () => {
    const bench = new FilterBench();
    const answers: number[] = [];
    bench.puppet
      .on("configure", function* (guest) {
        assert.equal(yield guest.host("proxy_set_tick_period_milliseconds", 1), abi.OK);
        return 1;
      })
      .on("tick", function* (guest) {
        assert.equal(yield startCall(guest, "auth"), abi.OK);
        assert.equal(yield guest.host("proxy_set_tick_period_milliseconds", 0), abi.OK);
        return 0;
      })
      .on("http_call_response", function* (_guest, _root, _call, headers) {
        yield* [];
        answers.push(headers ?? -1);
        return 0;
      });
    await bench.load(filterConfig({ capabilities: granted({ callouts: ["default/auth"] }) }));
    bench.clock.advance(9);
    assert.equal(bench.rootCallouts.length, 0, "periods have a minimum");
    bench.clock.advance(100);
    bench.rootCallouts[0]?.done(answerOf("200", "okay"));
    assert.deepEqual([bench.puppet.errors, bench.rootCallouts.length, answers], [[], 1, [2]]);
    // Two seconds later nobody counts what it uses in one.
    bench.clock.advance(2_000);
    assert.equal(bench.clock.pending, 0);
  });
});

describe("proxy-wasm: contexts", () => {
  test("created, done, logged and deleted in order; done = false keeps it until proxy_done", async () => {
    const bench = new FilterBench();
    let id = 0;
    bench.puppet
      .on("context_create", function* (_guest, context) {
        yield* [];
        id = context ?? 0;
        return 0;
      })
      .on("done", function* (guest) {
        assert.equal(yield guest.host("proxy_done"), abi.NOT_FOUND, "it is not pending yet");
        return 0;
      })
      .on("tick", function* (guest) {
        assert.equal(yield guest.host("proxy_done"), abi.NOT_FOUND);
        assert.equal(yield guest.host("proxy_set_effective_context", id), abi.OK);
        assert.equal(yield guest.host("proxy_get_header_map_value", 0, guest.put("a"), 1, OUT_A, OUT_B), abi.BAD_ARGUMENT);
        assert.equal(yield guest.host("proxy_done"), abi.OK);
        assert.equal(yield guest.host("proxy_set_tick_period_milliseconds", 0), abi.OK);
        return 0;
      })
      .on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 10);
        return 1;
      });
    const module = await bench.load();
    const { chain } = bench.exchange([module]);
    chain.requestHead(true);
    chain.log();
    chain.close();
    assert.equal(module.status().contexts, 1);
    bench.clock.advance(10);
    assert.equal(module.status().contexts, 0);
    assert.deepEqual(bench.puppet.errors, []);
    assert.deepEqual(bench.puppet.entered.slice(3), ["context_create", "request_headers", "done", "tick", "log", "delete"]);
  });

  test("an isolated filter has one exchange per instance, reuses instances and bounds them", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ isolated: true }));
    const open = Array.from({ length: 64 }, () => bench.exchange([module]));
    for (const { chain } of open) {
      assert.equal(chain.requestHead(true), "forward");
      bench.clock.advance(0);
    }
    assert.equal(module.status().instances, 64);
    const waiting = bench.exchange([module]);
    assert.equal(waiting.chain.requestHead(true), "held");
    open[9]?.chain.close();
    bench.clock.advance(0);
    assert.deepEqual(waiting.events, ['request head "" end']);
    assert.equal(module.status().instances, 64);
  });

  test("a trap in an isolated instance hits that exchange alone", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ isolated: true }));
    const [a, b] = [bench.exchange([module]), bench.exchange([module])];
    a.chain.requestHead(true);
    b.chain.requestHead(true);
    bench.puppet.on("response_headers", function* (guest) {
      yield guest.host("trap");
      return 0;
    });
    assert.equal(a.respond(200, [], true), "failed");
    await settle();
    assert.deepEqual(b.events, []);
    bench.puppet.on("response_headers", function* () {
      yield* [];
      return 0;
    });
    assert.equal(b.respond(200, [], true), "forward");
  });

  test("a disposed module finishes its exchanges, then frees its instance", async () => {
    const bench = new FilterBench();
    const module = await bench.load();
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    module.dispose();
    assert.equal(exchange.respond(200, [], true), "forward");
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    assert.equal(module.status().instances, 1);
    exchange.chain.close();
    assert.equal(module.status().instances, 0);
    assert.equal(bench.shared.size, 0);
  });
});

function* setShared(guest: PuppetGuest, key: string, value: string, cas: number): Generator<Command, number, number> {
  return yield guest.host("proxy_set_shared_data", guest.put(key), key.length, guest.put(value), value.length, cas);
}
function* getShared(guest: PuppetGuest, key: string): Generator<Command, string | number, number> {
  const status = yield guest.host("proxy_get_shared_data", guest.put(key), key.length, OUT_A, OUT_B, OUT_C);
  return status === abi.OK ? guest.given(OUT_A, OUT_B) : status;
}
const once = async (bench: FilterBench, config: ReturnType<typeof filterConfig>, script: Script): Promise<void> => {
  bench.puppet.on("request_headers", script);
  bench.exchange([await bench.load(config)]).chain.requestHead(true);
  assert.deepEqual(bench.puppet.errors, []);
};

describe("proxy-wasm: shared data and queues", () => {
  test("compare-and-set, across filters of one namespace and not across others", async () => {
    const bench = new FilterBench();
    const capabilities = granted({ sharedData: "team" });
    await once(bench, filterConfig({ name: "default/a", capabilities }), function* (guest) {
      assert.equal(yield* getShared(guest, "k"), abi.NOT_FOUND);
      assert.equal(yield* setShared(guest, "k", "1", 7), abi.CAS_MISMATCH);
      assert.equal(yield* setShared(guest, "k", "1", 0), abi.OK);
      assert.equal(yield* getShared(guest, "k"), "1");
      const cas = guest.u32(OUT_C);
      assert.notEqual(cas, 0);
      assert.equal(yield* setShared(guest, "k", "2", cas), abi.OK);
      assert.equal(yield* setShared(guest, "k", "3", cas), abi.CAS_MISMATCH);
      assert.equal(yield* getShared(guest, "k"), "2");
      return 0;
    });
    await once(bench, filterConfig({ name: "default/b", capabilities }), function* (guest) {
      assert.equal(yield* getShared(guest, "k"), "2");
      return 0;
    });
    for (const sharedData of [undefined, "shared:team", "other"]) {
      await once(bench, filterConfig({ name: "team", capabilities: granted({ sharedData }) }), function* (guest) {
        assert.equal(yield* getShared(guest, "k"), abi.NOT_FOUND);
        return 0;
      });
    }
  });

  test("caps: keys, bytes and the length of a key, at their edges", async () => {
    const bench = new FilterBench();
    await once(bench, filterConfig({ budget: { sharedDataKeys: 2, sharedDataBytes: 10 } }), function* (guest) {
      assert.equal(yield* setShared(guest, "a", "1234", 0), abi.OK);
      assert.equal(yield* setShared(guest, "b", "12345", 0), abi.INTERNAL_FAILURE);
      assert.equal(yield* setShared(guest, "b", "1234", 0), abi.OK);
      assert.equal(yield* setShared(guest, "a", "12345", 0), abi.INTERNAL_FAILURE);
      assert.equal(yield* setShared(guest, "a", "", 0), abi.OK);
      assert.equal(yield* setShared(guest, "c", "", 0), abi.INTERNAL_FAILURE);
      assert.equal(yield* setShared(guest, "b", "12345678", 0), abi.OK);
      assert.equal(yield* setShared(guest, "k".repeat(1025), "", 0), abi.BAD_ARGUMENT);
      return 0;
    });
  });

  test("queues: register, resolve, enqueue, dequeue, empty, unknown; their filter hears of items", async () => {
    const bench = new FilterBench();
    const ready: number[] = [];
    bench.puppet.on("queue_ready", function* (_guest, _root, queue) {
      yield* [];
      ready.push(queue ?? 0);
      return 0;
    });
    await once(bench, filterConfig(), function* (guest) {
      const resolve = (vm: string): Command =>
        guest.host("proxy_resolve_shared_queue", guest.put(vm), vm.length, guest.put("q"), 1, OUT_A);
      assert.equal(yield resolve(""), abi.NOT_FOUND);
      assert.equal(yield guest.host("proxy_register_shared_queue", guest.put("q"), 1, OUT_A), abi.OK);
      const queue = guest.u32(OUT_A);
      assert.equal(yield resolve(""), abi.OK);
      assert.equal(guest.u32(OUT_A), queue);
      assert.equal(yield resolve("default/puppet"), abi.OK);
      assert.equal(yield resolve("puppet"), abi.OK, "as filters for Envoy name it");
      for (const vm of ["default/stranger", "stranger", "default", "default/", "/puppet", "uppet"])
        assert.equal(yield resolve(vm), abi.NOT_FOUND, vm);
      assert.equal(yield guest.host("proxy_dequeue_shared_queue", queue, OUT_A, OUT_B), abi.EMPTY);
      assert.equal(yield guest.host("proxy_dequeue_shared_queue", 99, OUT_A, OUT_B), abi.NOT_FOUND);
      assert.equal(yield guest.host("proxy_enqueue_shared_queue", 99, guest.put("x"), 1), abi.NOT_FOUND);
      assert.equal(yield guest.host("proxy_enqueue_shared_queue", queue, guest.put("one"), 3), abi.OK);
      assert.equal(yield guest.host("proxy_dequeue_shared_queue", queue, OUT_A, OUT_B), abi.OK);
      assert.equal(guest.given(OUT_A, OUT_B), "one");
      assert.deepEqual(ready, [], "never while the guest runs");
      return 0;
    });
    await settle();
    assert.deepEqual(ready, [], "in a turn of the loop of its own");
    bench.clock.advance(0);
    assert.deepEqual(ready, [1]);
  });

  test("queues are bounded", async () => {
    const bench = new FilterBench();
    await once(bench, filterConfig({ budget: { sharedDataBytes: 5 } }), function* (guest) {
      for (let i = 0; i < 64; i++) {
        const name = `q${i}`;
        assert.equal(yield guest.host("proxy_register_shared_queue", guest.put(name), name.length, OUT_A), abi.OK);
      }
      assert.equal(yield guest.host("proxy_register_shared_queue", guest.put("more"), 4, OUT_A), abi.INTERNAL_FAILURE);
      assert.equal(yield guest.host("proxy_enqueue_shared_queue", 1, guest.put("123456"), 6), abi.INTERNAL_FAILURE);
      for (let i = 0; i < 1024; i++) assert.equal(yield guest.host("proxy_enqueue_shared_queue", 1, 0, 0), abi.OK);
      assert.equal(yield guest.host("proxy_enqueue_shared_queue", 1, 0, 0), abi.INTERNAL_FAILURE);
      return 0;
    });
  });
});

describe("FilterRegistry", () => {
  test("equal identity shares one module, any difference makes another, the last release disposes", async () => {
    const bench = new FilterBench();
    const registry = new FilterRegistry(bench.host);
    let fetched = 0;
    const wasm = (): Promise<Bytes> => {
      fetched++;
      return Promise.resolve(buildPuppet());
    };
    const [a, b] = await Promise.all([
      registry.acquire(filterConfig(), wasm),
      registry.acquire(filterConfig({ origin: "x" }), wasm),
    ]);
    assert.equal(a.module, b.module);
    assert.equal(fetched, 1);
    const other = await registry.acquire(filterConfig({ settings: '{"x":1}' }), wasm);
    assert.notEqual(other.module, a.module);
    a.release();
    a.release();
    assert.equal(bench.exchange([b.module]).chain.requestHead(true), "forward");
    b.release();
    assert.equal(bench.exchange([b.module]).chain.requestHead(true), "failed");
    other.release();
    assert.equal(registry.size, 0);
    assert.equal(bench.shared.size, 0);
  });

  test("a filter's next version finds what the former one shared, also what it writes to its end; a later one begins anew", async () => {
    const bench = new FilterBench();
    const registry = new FilterRegistry(bench.host);
    const version = (digest: string) => registry.acquire(filterConfig({ digest }), () => Promise.resolve(buildPuppet()));
    const found: unknown[] = [];
    bench.puppet.on("request_headers", function* (guest) {
      const value = yield* getShared(guest, "count");
      found.push(value);
      assert.equal(yield* setShared(guest, "count", value === abi.NOT_FOUND ? "1" : `${Number(value) + 1}`, 0), abi.OK);
      return 0;
    });
    const asked = ({ module }: { module: FilterModule }): void => {
      const { chain } = bench.exchange([module]);
      assert.equal(chain.requestHead(true), "forward");
      chain.close();
    };
    const first = await version("sha256:1");
    asked(first);
    const second = await version("sha256:2");
    asked(second);
    asked(first);
    first.release();
    asked(second);
    second.release();
    assert.equal(bench.shared.size, 0);
    asked(await version("sha256:3"));
    assert.deepEqual(bench.puppet.errors, []);
    assert.deepEqual(found, [abi.NOT_FOUND, "1", "2", "3", abi.NOT_FOUND]);
  });

  test("ticks begin when the module serves: before, there are no services to call", async () => {
    const bench = new FilterBench();
    const registry = new FilterRegistry(bench.host);
    bench.puppet.on("configure", function* (guest) {
      assert.equal(yield guest.host("proxy_set_tick_period_milliseconds", 100), abi.OK);
      return 1;
    });
    const ticks = (): number => bench.puppet.entered.filter((name) => name === "tick").length;
    const lease = await registry.acquire(filterConfig(), () => Promise.resolve(buildPuppet()));
    bench.clock.advance(1_050);
    assert.equal(ticks(), 0);
    registry.serve([lease.module], 1);
    assert.equal(ticks(), 0);
    bench.clock.advance(50);
    assert.equal(ticks(), 1);
    bench.clock.advance(300);
    assert.equal(ticks(), 4);
    lease.release();
  });

  test("a module that does not load is forgotten, for everybody who waited", async () => {
    const bench = new FilterBench();
    const registry = new FilterRegistry(bench.host);
    const nothing = (): Promise<Bytes> => Promise.resolve(EMPTY_BYTES);
    const both = await Promise.allSettled([registry.acquire(filterConfig(), nothing), registry.acquire(filterConfig(), nothing)]);
    assert.deepEqual(
      both.map(({ status }) => status),
      ["rejected", "rejected"],
    );
    assert.equal(registry.size, 0);
    const lease = await registry.acquire(filterConfig(), () => Promise.resolve(buildPuppet()));
    lease.release();
  });

  test("10,000 reloads leave nothing behind", async () => {
    const bench = new FilterBench();
    const registry = new FilterRegistry(bench.host);
    const puppet = buildPuppet();
    const wasm = (): Promise<Bytes> => Promise.resolve(puppet);
    let held = await registry.acquire(filterConfig(), wasm);
    const first = held.module;
    for (let i = 0; i < 10_000; i++) {
      const next = await registry.acquire(filterConfig(), wasm);
      held.release();
      held = next;
    }
    assert.equal(held.module, first);
    for (let i = 0; i < 200; i++) {
      const next = await registry.acquire(filterConfig({ settings: `{"i":${i}}` }), wasm);
      bench.exchange([next.module]).chain.requestHead(true);
      held.release();
      held = next;
    }
    held.release();
    assert.deepEqual([registry.size, bench.shared.size, bench.clock.pending], [0, 0, 0]);
  });
});
