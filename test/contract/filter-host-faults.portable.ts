import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import { PROXY_WASM_LIMITS } from "../../src/core/limits.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { FilterBench, filterConfig, settle } from "../kit/filters.ts";
import {
  ALLOCATOR_MODES,
  buildPuppet,
  HOST_CALLS,
  OUT_A,
  OUT_B,
  type PuppetGuest,
  type Script,
  WASI_CALLS,
} from "../kit/puppet.ts";
import { describe, test } from "../kit/suite.ts";

/** Addresses and lengths that reach out of a memory of one page, or wrap. */
const BAD_RANGES: readonly (readonly [at: number, size: number])[] = [
  [65_536, 1],
  [65_535, 2],
  [0, 65_537],
  [-1, 1],
  [-1, 2],
  [1, -1],
  [0x7fff_ffff, 0x7fff_ffff],
  [-0x8000_0000, -0x8000_0000],
  [0xffff_fff0 | 0, 0x20],
];

/** Which parameters of a host call are a range the host reads, and which are a pointer it writes to. */
const READS: Readonly<Record<string, readonly number[]>> = {
  proxy_log: [1],
  proxy_get_property: [0],
  proxy_set_property: [0, 2],
  proxy_get_header_map_value: [1],
  proxy_add_header_map_value: [1, 3],
  proxy_replace_header_map_value: [1, 3],
  proxy_remove_header_map_value: [1],
  proxy_set_header_map_pairs: [1],
  proxy_send_local_response: [1, 3, 5],
  proxy_http_call: [0, 2, 4, 6],
  proxy_get_shared_data: [0],
  proxy_set_shared_data: [0, 2],
  proxy_register_shared_queue: [0],
  proxy_resolve_shared_queue: [0, 2],
  proxy_enqueue_shared_queue: [1],
  proxy_define_metric: [1],
  proxy_call_foreign_function: [0, 2],
};
const WRITES: Readonly<Record<string, readonly number[]>> = {
  proxy_get_log_level: [0],
  proxy_get_property: [2, 3],
  proxy_get_header_map_value: [3, 4],
  proxy_get_header_map_pairs: [1, 2],
  proxy_get_header_map_size: [1],
  proxy_get_buffer_bytes: [3, 4],
  proxy_get_buffer_status: [1, 2],
  proxy_http_call: [9],
  proxy_get_status: [0, 1, 2],
  proxy_get_shared_data: [2, 3, 4],
  proxy_register_shared_queue: [2],
  proxy_resolve_shared_queue: [4],
  proxy_dequeue_shared_queue: [1, 2],
  proxy_define_metric: [3],
  proxy_get_metric: [1],
  proxy_get_current_time_nanoseconds: [0],
};

/** Arguments with which a call succeeds as far as its pointers go. */
function goodArguments(guest: PuppetGuest, name: string): number[] {
  const params = HOST_CALLS[name]?.length ?? 0;
  const args = new Array<number>(params).fill(0);
  for (const i of READS[name] ?? []) {
    args[i] = guest.put("x");
    args[i + 1] = 1;
  }
  for (const i of WRITES[name] ?? []) args[i] = OUT_A + i * 8;
  if (name === "proxy_get_header_map_value") [args[1], args[2]] = [guest.put("x-many"), 6];
  if (name === "proxy_get_property") [args[0], args[1]] = [guest.put("plugin_name"), 11];
  if (name === "proxy_get_buffer_bytes" || name === "proxy_get_buffer_status") args[0] = 7;
  if (name === "proxy_get_buffer_bytes") args[2] = 9;
  return args;
}

const pages = (count: number): number => count * 65_536;

describe("proxy-wasm: bad pointers", () => {
  test("every range that a host call reads is checked, also where it wraps", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      for (const [name, positions] of Object.entries(READS)) {
        for (const position of positions) {
          for (const [at, size] of BAD_RANGES) {
            const args = goodArguments(guest, name);
            args[position] = at;
            args[position + 1] = size;
            assert.equal(yield guest.host(name, ...args), abi.INVALID_MEMORY_ACCESS, `${name} ${position} [${at}, ${size}]`);
          }
        }
      }
      return 0;
    });
    const module = await bench.load();
    assert.equal(bench.exchange([module]).chain.requestHead(false), "forward");
    assert.deepEqual(bench.puppet.errors, []);
    assert.equal(module.status().traps, 0);
  });

  test("every pointer that a host call writes to is checked", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      const shared = [guest.put("x"), 1, guest.put("v"), 1, 0];
      assert.equal(yield guest.host("proxy_set_shared_data", ...shared), abi.OK);
      assert.equal(yield guest.host("proxy_register_shared_queue", guest.put("x"), 1, OUT_A), abi.OK);
      assert.equal(yield guest.host("proxy_enqueue_shared_queue", guest.u32(OUT_A), guest.put("i"), 1), abi.OK);
      for (const [name, positions] of Object.entries(WRITES)) {
        for (const position of positions) {
          for (const at of [65_536, 65_533, -1, -3, 0x7fff_ffff]) {
            const args = goodArguments(guest, name);
            if (name === "proxy_get_metric") {
              assert.equal(yield guest.host("proxy_define_metric", 0, guest.put("m"), 1, OUT_B), abi.OK);
              args[0] = guest.u32(OUT_B);
            }
            if (name === "proxy_dequeue_shared_queue") args[0] = 1;
            args[position] = at;
            assert.equal(yield guest.host(name, ...args), abi.INVALID_MEMORY_ACCESS, `${name} ${position} ${at}`);
          }
        }
      }
      return 0;
    });
    const module = await bench.load(filterConfig({ budget: { hostCallsPerCallback: 100_000 } }));
    bench.exchange([module]).chain.requestHead(false);
    assert.deepEqual(bench.puppet.errors, []);
    assert.equal(module.status().traps, 0);
  });

  test("WASI pointers fault with its own number", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      for (const at of [65_536, 65_535, -1]) {
        assert.equal(yield guest.host("fd_write", 1, at, 1, OUT_A), abi.WASI_FAULT);
        assert.equal(yield guest.host("random_get", at, 8), abi.WASI_FAULT);
        assert.equal(yield guest.host("clock_time_get", 0, 0n, at), abi.WASI_FAULT);
        assert.equal(yield guest.host("environ_sizes_get", at, OUT_A), abi.WASI_FAULT);
        assert.equal(yield guest.host("args_sizes_get", at, OUT_A), abi.WASI_FAULT);
      }
      return 0;
    });
    bench.exchange([await bench.load()]).chain.requestHead(false);
    assert.deepEqual(bench.puppet.errors, []);
    assert.ok(Object.keys(WASI_CALLS).length > 5);
  });

  test("an allocator that fails or lies is not believed", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      for (const mode of [ALLOCATOR_MODES.zero, ALLOCATOR_MODES.beyond, ALLOCATOR_MODES.wrapping]) {
        guest.allocator(mode);
        for (const name of [
          "proxy_get_header_map_value",
          "proxy_get_header_map_pairs",
          "proxy_get_property",
          "proxy_get_buffer_bytes",
        ]) {
          assert.equal(yield guest.host(name, ...goodArguments(guest, name)), abi.INTERNAL_FAILURE, `${name} ${mode}`);
        }
      }
      return 0;
    });
    const module = await bench.load();
    assert.equal(bench.exchange([module]).chain.requestHead(false), "forward");
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("memory that grows under a host call, and ranges in what was grown, are seen", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield guest.host("proxy_log", 2, pages(1), 1), abi.INVALID_MEMORY_ACCESS);
      assert.equal(yield guest.host("grow", 1), 1);
      assert.equal(yield guest.host("proxy_log", 2, pages(1), 1), abi.OK);
      assert.equal(yield guest.host("proxy_log", 2, pages(2), 1), abi.INVALID_MEMORY_ACCESS);
      guest.allocator(ALLOCATOR_MODES.growing);
      for (let i = 0; i < 3; i++) {
        assert.equal(yield guest.host("proxy_get_header_map_value", 0, guest.put("x-many"), 6, OUT_A, OUT_B), abi.OK);
        assert.equal(guest.given(OUT_A, OUT_B), "1");
      }
      return 0;
    });
    const module = await bench.load();
    bench.exchange([module]).chain.requestHead(false);
    assert.deepEqual(bench.puppet.errors, []);
    assert.equal(module.status().memoryBytes, pages(5));
  });
});

describe("proxy-wasm: budgets", () => {
  test("memory.grow answers -1 beyond the budget, and the guest lives on", async () => {
    for (const maxPages of [undefined, 1000]) {
      const bench = new FilterBench();
      bench.puppet.on("request_headers", function* (guest) {
        assert.equal(yield guest.host("grow", 3), 1);
        assert.equal(yield guest.host("grow", 1), -1);
        assert.equal(yield guest.host("grow", 65_535), -1);
        return 0;
      });
      const wasm = buildPuppet(maxPages === undefined ? {} : { maxPages });
      const module = await bench.load(filterConfig({ budget: { memoryBytes: pages(4) } }), wasm);
      assert.equal(bench.exchange([module]).chain.requestHead(false), "forward");
      assert.deepEqual(bench.puppet.errors, []);
      assert.equal(module.status().memoryBytes, pages(4));
    }
  });

  test("a module's own smaller maximum stays", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      assert.equal(yield guest.host("grow", 1), 1);
      assert.equal(yield guest.host("grow", 1), -1);
      return 0;
    });
    bench.exchange([await bench.load(filterConfig(), buildPuppet({ maxPages: 2 }))]).chain.requestHead(false);
    assert.deepEqual(bench.puppet.errors, []);
  });

  test("host calls per callback: the one beyond fails, the next callback starts anew", async () => {
    const bench = new FilterBench();
    const statuses: number[] = [];
    const script: Script = function* (guest) {
      for (let i = 0; i < 4; i++) statuses.push(yield guest.host("proxy_get_log_level", OUT_A));
      return 0;
    };
    bench.puppet.on("request_headers", script).on("response_headers", script);
    // Each step of the puppet is a host call itself, so the budget ends with the third call or with asking for the fourth.
    const module = await bench.load(filterConfig({ budget: { hostCallsPerCallback: 7 } }));
    const exchange = bench.exchange([module]);
    exchange.chain.requestHead(true);
    assert.deepEqual(statuses, [0, 0, 0]);
    exchange.respond(200, [], true);
    assert.deepEqual(statuses, [0, 0, 0, 0, 0, 0]);
  });

  test("host calls per exchange: of both callbacks together, another exchange has its own", async () => {
    const bench = new FilterBench();
    const statuses: number[] = [];
    const script: Script = function* (guest) {
      for (let i = 0; i < 2; i++) statuses.push(yield guest.host("proxy_get_log_level", OUT_A));
      return 0;
    };
    bench.puppet.on("request_headers", script).on("response_headers", script);
    // Two calls and three steps of the puppet in each callback: the second one has enough for one of its calls.
    const module = await bench.load(filterConfig({ budget: { hostCallsPerExchange: 8 } }));
    for (const expected of [3, 6]) {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      exchange.respond(200, [], true);
      assert.deepEqual(statuses, new Array(expected).fill(0));
    }
  });

  test("output bytes of an exchange: exactly the budget passes, one more does not", async () => {
    const cost = PROXY_WASM_LIMITS.headerOverheadBytes + 2;
    for (const [budget, expected] of [
      [cost * 2, abi.OK],
      [cost * 2 - 1, abi.INTERNAL_FAILURE],
    ] as const) {
      const bench = new FilterBench();
      bench.puppet.on("request_headers", function* (guest) {
        const add = guest.host("proxy_add_header_map_value", 0, guest.put("a"), 1, guest.put("b"), 1);
        assert.equal(yield add, abi.OK);
        assert.equal(yield add, expected);
        return 0;
      });
      bench.exchange([await bench.load(filterConfig({ budget: { outputBytes: budget } }))]).chain.requestHead(true);
      assert.deepEqual(bench.puppet.errors, []);
    }
  });

  test("contexts per instance: the one beyond gets onFailure, a closed one makes room", async () => {
    const bench = new FilterBench();
    const module = await bench.load(filterConfig({ budget: { contextsPerInstance: 2 } }));
    const [a, b, c, d] = [0, 1, 2, 3].map(() => bench.exchange([module]));
    assert.equal(a?.chain.requestHead(true), "forward");
    assert.equal(b?.chain.requestHead(true), "forward");
    assert.equal(c?.chain.requestHead(true), "failed");
    assert.equal(c?.chain.failure?.detail, "too many contexts");
    a?.chain.close();
    assert.equal(d?.chain.requestHead(true), "forward");
    assert.equal(module.status().contexts, 2);
  });
});

const CALLBACK_RUNS: Readonly<Record<string, (bench: FilterBench, module: Awaited<ReturnType<FilterBench["load"]>>) => string>> =
  {
    context_create: (bench, module) => bench.exchange([module]).chain.requestHead(true),
    request_headers: (bench, module) => bench.exchange([module]).chain.requestHead(true),
    request_body: (bench, module) => {
      const { chain } = bench.exchange([module]);
      chain.requestHead(false);
      return chain.requestData(latin1Bytes("x"), true);
    },
    request_trailers: (bench, module) => {
      const { chain } = bench.exchange([module]);
      chain.requestHead(false);
      return chain.requestEnd(new HeaderBlock());
    },
    response_headers: (bench, module) => {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      return exchange.respond(200, [], true);
    },
    response_body: (bench, module) => {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      exchange.respond(200, [], false);
      return exchange.chain.responseData(latin1Bytes("x"), true);
    },
    response_trailers: (bench, module) => {
      const exchange = bench.exchange([module]);
      exchange.chain.requestHead(true);
      exchange.respond(200, [], false);
      return exchange.chain.responseEnd(new HeaderBlock());
    },
  };

const TRAPS: Readonly<Record<string, Script>> = {
  unreachable: function* (guest) {
    yield guest.host("trap");
    return 0;
  },
  recursion: function* (guest) {
    yield guest.host("recurse");
    return 0;
  },
  "recursion through the host": function* (guest) {
    yield guest.host("recurse-host");
    return 0;
  },
  abort: function* (guest) {
    yield guest.host("abort");
    return 0;
  },
  exit: function* (guest) {
    yield guest.host("exit", 3);
    return 0;
  },
  "endless loop": function* (guest) {
    yield guest.host("spin");
    return 0;
  },
  "wild address": function* (guest) {
    yield guest.host("wild");
    return 0;
  },
  "allocator that never ends": function* (guest) {
    guest.allocator(ALLOCATOR_MODES.spin);
    yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
    yield guest.host("proxy_get_property", guest.put("plugin_name"), 11, OUT_A, OUT_B);
    return 0;
  },
  "allocator trap": function* (guest) {
    guest.allocator(ALLOCATOR_MODES.trap);
    yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
    yield guest.host("proxy_get_property", guest.put("plugin_name"), 11, OUT_A, OUT_B);
    return 0;
  },
};

describe("proxy-wasm: traps", () => {
  test("an instance that cannot be started again is a fault of its own kind", async () => {
    const bench = new FilterBench();
    bench.puppet.on("request_headers", function* (guest) {
      yield guest.host("trap");
      return 0;
    });
    const module = await bench.load();
    bench.puppet.on("configure", function* () {
      yield* [];
      return 0;
    });
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    bench.clock.advance(0);
    assert.deepEqual(
      [...module.stats.faults],
      [
        ["trap", 1],
        ["start", 1],
      ],
    );
    assert.equal(bench.log.lines.includes("error a filter could not be started again"), true);
  });

  for (const [callback, run] of Object.entries(CALLBACK_RUNS)) {
    test(`in ${callback}: closed fails the exchange, open goes on, the instance is renewed`, async () => {
      for (const [trap, script] of Object.entries(TRAPS)) {
        for (const onFailure of ["closed", "open"] as const) {
          const bench = new FilterBench();
          const module = await bench.load(filterConfig({ onFailure }));
          bench.puppet.on(callback, script);
          assert.equal(run(bench, module), onFailure === "closed" ? "failed" : "forward", `${trap} ${onFailure}`);
          assert.equal(module.status().traps, 1, trap);
          assert.equal(module.status().instances, 0);
          assert.equal(bench.metrics.traps.length, 1);
          bench.puppet.on(callback, function* () {
            yield* [];
            return 0;
          });
          bench.clock.advance(1);
          await settle();
          assert.equal(module.status().instances, 1, `${trap} ${onFailure}: renewed`);
          assert.equal(run(bench, module), "forward");
        }
      }
    });
  }

  test("in log, done, delete, tick and call-out answers: nothing is thrown, the instance is renewed", async () => {
    for (const callback of ["done", "log", "delete", "tick"]) {
      const bench = new FilterBench();
      bench.puppet.on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 10);
        return 1;
      });
      const module = await bench.load();
      bench.puppet.on(callback, TRAPS.unreachable as Script);
      const { chain } = bench.exchange([module]);
      chain.requestHead(true);
      if (callback === "tick") bench.clock.advance(10);
      chain.log();
      chain.close();
      assert.equal(module.status().traps, 1, callback);
      assert.equal(module.status().contexts, 0, callback);
    }
  });

  test("every exchange with a context in the instance gets onFailure, those of other instances do not", async () => {
    for (const onFailure of ["closed", "open"] as const) {
      const bench = new FilterBench();
      bench.puppet.on("request_headers", function* () {
        yield* [];
        return 1;
      });
      const module = await bench.load(filterConfig({ onFailure }));
      const other = await bench.load(filterConfig({ name: "default/other" }));
      const [a, b, c] = [bench.exchange([module]), bench.exchange([module]), bench.exchange([other])];
      for (const exchange of [a, b, c]) assert.equal(exchange.chain.requestHead(true), "held");
      bench.puppet.on("request_headers", TRAPS.unreachable as Script);
      assert.equal(bench.exchange([module]).chain.requestHead(true), onFailure === "closed" ? "failed" : "forward");
      await settle();
      const expected = onFailure === "closed" ? ["fail filter_failed"] : ['request head "" end'];
      assert.deepEqual([a.events, b.events, c.events], [expected, expected, []]);
    }
  });

  test("renewal is at once, then backs off exponentially, and while there is no instance onFailure applies", async () => {
    const bench = new FilterBench();
    const module = await bench.load();
    bench.puppet.on("request_headers", TRAPS.unreachable as Script);
    // No time passes between the first fault and the next exchange: that has an instance already.
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    const delays: number[] = [];
    for (let i = 0; i < 5; i++) {
      const entered = bench.puppet.entered.length;
      assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
      assert.ok(bench.puppet.entered.slice(entered).includes("request_headers"));
      const { chain } = bench.exchange([module]);
      assert.equal(chain.requestHead(true), "failed");
      assert.match(chain.failure?.detail ?? "", /no instance: trap/);
      const before = bench.clock.nowMs();
      while (module.status().instances === 0) {
        bench.clock.advance(25);
        await settle();
      }
      delays.push(bench.clock.nowMs() - before);
    }
    assert.deepEqual(delays, [100, 200, 400, 800, 1600]);
    bench.clock.advance(PROXY_WASM_LIMITS.restartResetMs);
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    const entered = bench.puppet.entered.length;
    assert.equal(bench.exchange([module]).chain.requestHead(true), "failed");
    assert.ok(bench.puppet.entered.slice(entered).includes("request_headers"), "a long life ends the doubling");
  });
});
