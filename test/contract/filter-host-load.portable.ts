import assert from "node:assert/strict";
import type { FilterConfig } from "../../src/config/snapshot.ts";
import { latin1Bytes } from "../../src/core/bytes.ts";
import { ACTOR, ComponentBench, script } from "../kit/component.ts";
import { answering, ExtismBench } from "../kit/extism.ts";
import { FilterBench, filterConfig } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";
import { ModuleBuilder, op } from "../kit/wasm.ts";

/** The least that loads. */
function minimal(change: (builder: ModuleBuilder) => void = () => {}): ModuleBuilder {
  const builder = new ModuleBuilder();
  change(builder);
  return builder;
}
const marker = (builder: ModuleBuilder, name = "proxy_abi_version_0_2_1"): number => builder.func(name, [], [], []);
const allocator = (builder: ModuleBuilder): number => builder.func("malloc", ["i32"], ["i32"], op.i32(1024));

describe("proxy-wasm: modules that do not load", () => {
  const refused: readonly (readonly [name: string, wasm: Uint8Array, reason: RegExp])[] = [
    ["no bytes", new Uint8Array(0), /not a WebAssembly/],
    ["text", latin1Bytes("hello world"), /not a WebAssembly/],
    ["a component", Uint8Array.from([0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0]), /not a WebAssembly core module/],
    ["a section beyond the end", Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 0x7f]), /./],
    ["an endless number", Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 255, 255, 255, 255, 255, 1]), /./],
    ["garbage sections", Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 1, 9]), /./],
    ["no marker", minimal((b) => void allocator(b.memory(1))).build(), /proxy_abi_version/],
    ["no memory", minimal((b) => void [marker(b), allocator(b)]).build(), /exports no memory/],
    ["no allocator", minimal((b) => void marker(b.memory(1))).build(), /malloc/],
    [
      "a callback that is no function",
      minimal((b) => void [marker(b.memory(1)), allocator(b), b.global(1, "proxy_on_request_headers")]).build(),
      /proxy_on_request_headers is not a function/,
    ],
    [
      "an import of ours that does not exist",
      minimal((b) => void [b.import("env", "system", ["i32"], []), marker(b.memory(1)), allocator(b)]).build(),
      /env\.system/,
    ],
    [
      "an import from elsewhere",
      minimal((b) => void [b.import("host", "proxy_log", ["i32"], []), marker(b.memory(1)), allocator(b)]).build(),
      /host\.proxy_log/,
    ],
    ["too much memory at once", minimal((b) => void [marker(b.memory(1025)), allocator(b)]).build(), /1025 pages/],
    [
      "a start function that traps",
      minimal((b) => void [marker(b.memory(1)), allocator(b), b.start(b.func(undefined, [], [], op.unreachable))]).build(),
      /./,
    ],
    [
      "an initialiser that traps",
      minimal((b) => void [marker(b.memory(1)), allocator(b), b.func("_initialize", [], [], op.unreachable)]).build(),
      /trap/,
    ],
    [
      "a vm_start that answers false",
      minimal(
        (b) => void [marker(b.memory(1)), allocator(b), b.func("proxy_on_vm_start", ["i32", "i32"], ["i32"], op.i32(0))],
      ).build(),
      /proxy_on_vm_start answered false/,
    ],
  ];
  for (const [name, wasm, reason] of refused) {
    test(name, async () => {
      const bench = new FilterBench();
      await assert.rejects(bench.load(filterConfig(), wasm), reason);
      assert.equal(bench.shared.size, 0, "nothing of it stays");
      assert.equal(bench.clock.pending, 0);
    });
  }

  test("a refused configuration rejects with the guest's last words, and its timers are gone", async () => {
    const bench = new FilterBench();
    bench.puppet.on("configure", function* (guest) {
      yield guest.host("proxy_set_tick_period_milliseconds", 10);
      yield guest.host("proxy_log", 4, guest.put("unknown key: colour"), 19);
      return 0;
    });
    await assert.rejects(bench.load(), /^Error: unknown key: colour$/);
    assert.equal(bench.clock.pending, 0);
    assert.equal(bench.shared.size, 0);
  });

  test("callbacks and allocators of the wrong type are refused by name, with their type and the right one", async () => {
    type Types = readonly ("i32" | "i64")[];
    const zero = { i32: op.i32(0), i64: op.i64Zero } as const;
    const load = (name: string, params: Types, results: readonly ("i32" | "i64")[], version?: string) => {
      const wasm = minimal((b) => {
        marker(b.memory(1), version);
        if (name !== "proxy_on_memory_allocate" && name !== "malloc") allocator(b);
        b.func(
          name,
          [...params],
          [...results],
          results.flatMap((each) => [...zero[each]]),
        );
      }).build();
      return new FilterBench().load(filterConfig(), wasm);
    };
    const cases: readonly (readonly [name: string, params: Types, results: readonly ("i32" | "i64")[], reason: RegExp])[] = [
      [
        "proxy_on_request_headers",
        ["i64", "i32", "i32"],
        ["i32"],
        /proxy_on_request_headers is \(i64, i32, i32\) -> i32, not \(i32, i32, i32\) -> i32$/,
      ],
      ["proxy_on_request_headers", ["i32", "i32", "i32"], ["i64"], /is \(i32, i32, i32\) -> i64, not \(i32, i32, i32\) -> i32$/],
      [
        "proxy_on_response_headers",
        ["i32", "i32"],
        ["i32"],
        /proxy_on_response_headers is \(i32, i32\) -> i32, not \(i32, i32, i32\) -> i32$/,
      ],
      ["proxy_on_request_body", ["i32", "i64", "i32"], ["i32"], /proxy_on_request_body is \(i32, i64, i32\) -> i32/],
      ["proxy_on_log", ["i32"], ["i32"], /proxy_on_log is \(i32\) -> i32, not \(i32\) -> \(\)$/],
      ["proxy_on_done", ["i32"], [], /proxy_on_done is \(i32\) -> \(\), not \(i32\) -> i32$/],
      ["proxy_on_grpc_close", ["i32"], [], /proxy_on_grpc_close is/],
      ["proxy_on_memory_allocate", ["i64"], ["i32"], /proxy_on_memory_allocate is \(i64\) -> i32, not \(i32\) -> i32$/],
      ["malloc", ["i32", "i32"], ["i32"], /malloc is \(i32, i32\) -> i32, not \(i32\) -> i32$/],
      ["_initialize", ["i32"], [], /_initialize is \(i32\) -> \(\), not \(\) -> \(\)$/],
      ["_start", [], ["i32"], /_start is \(\) -> i32, not \(\) -> \(\)$/],
    ];
    for (const [name, params, results, reason] of cases) await assert.rejects(load(name, params, results), reason);
    await assert.rejects(
      load("proxy_on_request_headers", ["i32", "i32", "i32"], ["i32"], "proxy_abi_version_0_1_0"),
      /not \(i32, i32\) -> i32$/,
    );
    // What the ABI does not call may be what it likes.
    await load("main", ["i64"], []);
    await load("proxy_on_something_of_my_own", ["i64"], []);
    await load("proxy_on_request_headers", ["i32", "i32"], ["i32"], "proxy_abi_version_0_1_0");
  });

  test("a module without callbacks passes everything; unknown proxy_ and WASI imports are there but unimplemented", async () => {
    const bench = new FilterBench();
    const wasm = minimal((b) => {
      b.import("env", "proxy_from_the_future", ["i32", "i64"], ["i32"]);
      b.import("wasi_snapshot_preview1", "sock_accept", ["i32"], ["i32"]);
      marker(b.memory(1));
      allocator(b);
    }).build();
    const exchange = bench.exchange([await bench.load(filterConfig(), wasm)]);
    assert.equal(exchange.chain.requestHead(false), "forward");
    assert.equal(exchange.chain.requestData(latin1Bytes("x"), true), "forward");
    assert.equal(exchange.respond(200, [], true), "forward");
  });
});

describe("a snapshot of an earlier version", () => {
  test("a budget without a bound of calls for exchanges: ten times that of a callback, in every ABI", async () => {
    const { hostCallsPerExchange: _, ...budget } = filterConfig({ budget: { hostCallsPerCallback: 50 } }).budget;
    const old = (config: FilterConfig): FilterConfig => ({ ...config, budget: budget as FilterConfig["budget"] });
    const modules = [
      await new FilterBench().load(old(filterConfig())),
      await new ComponentBench().load(
        old(filterConfig({ abi: "component", settings: script({}), capabilities: { callouts: ["default/a"] } })),
        ACTOR,
      ),
      await new ExtismBench().host.load(answering("{}"), old(filterConfig({ abi: "extism" }))),
    ];
    assert.deepEqual(
      modules.map((module) => module.config.budget.hostCallsPerExchange),
      [500, 500, 500],
    );
  });
});
