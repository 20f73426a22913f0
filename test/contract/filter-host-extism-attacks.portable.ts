import assert from "node:assert/strict";
import { EXTISM_LIMITS } from "../../src/core/limits.ts";
import { ModuleAssembler } from "../kit/assembler.ts";
import { answering, buildPlugin, EXTISM_TYPES, ExtismBench, PDK_ACTOR, type PluginSource } from "../kit/extism.ts";
import { settle } from "../kit/filters.ts";
import { describe, test } from "../kit/suite.ts";

// Plug-ins that break the rules, made by hand. A number that a function returns is read in the failure that it makes.

type Change = Parameters<ExtismBench["load"]>[1];

async function ask(source: string | PluginSource, change: Change = {}) {
  const bench = new ExtismBench();
  const plugin = typeof source === "string" ? { exports: { on_request: source } } : source;
  const module = await bench.load(buildPlugin(plugin), change);
  const exchange = bench.exchange([module]);
  const result = exchange.chain.requestHead(true);
  return { bench, module, exchange, result, failure: String(exchange.chain.failure ?? "") };
}

/** What a body leaves on the stack, unless that is 0. */
async function numberOf(body: string, change: Change = {}, text = ""): Promise<number> {
  const { result, failure } = await ask({ exports: { on_request: body }, text }, change);
  if (result === "forward") return 0;
  return Number(/it answered (-?\d+)/.exec(failure)?.[1] ?? assert.fail(failure));
}

const HOSTILE = [
  ...["0", "1", "7", "15", "16", "17", "23", "24", "-1", "-8", "-2147483648", "2147483647", "2147483648"],
  ...["4294967295", "4294967296", "4294967320", "1073741824", "1073741825", "9223372036854775807", "-9223372036854775808"],
];

describe("extism: offsets and lengths", () => {
  for (const [name, [params, results]] of Object.entries(EXTISM_TYPES)) {
    if (name === "http_request" || params[0] !== "i64") continue;
    test(`${name} with every bad one`, async () => {
      const calls = HOSTILE.flatMap((first) =>
        (params[1] === "i64" ? HOSTILE : ["255"]).map((second) => {
          const more = params.length === 1 ? "" : `${params[1]}.const ${second}`;
          return `i64.const ${first} ${more} $${name} ${results.length > 0 ? "drop" : ""}`;
        }),
      );
      const answer = '{"headers":{"set":[["x-alive","yes"]]}}';
      const done = `i64.const 0 $error_set $text i64.const ${answer.length} $output_set i32.const 0`;
      const { result, exchange, module, failure } = await ask({
        text: answer,
        exports: { on_request: `${calls.join(" ")} ${done}` },
      });
      assert.equal(result, "forward", failure);
      assert.equal(exchange.request.headers.get("x-alive"), "yes");
      assert.equal(module.status().traps, 0);
      assert.ok(module.status().memoryBytes <= EXTISM_LIMITS.sharedBytes + 65_536);
    });
  }

  const outside: readonly (readonly [at: string, size: string])[] = [
    ["-1", "1"],
    ["24", "-1"],
    ["0", "1"],
    ["15", "1"],
    ["4294967320", "8"],
    ["16", "1048576"],
  ];
  for (const [at, size] of outside) {
    test(`an output at ${at} of ${size} bytes is refused, not taken for none`, async () => {
      const { result, failure, module } = await ask(`i64.const ${at} i64.const ${size} $output_set i32.const 0`);
      assert.equal(result, "failed");
      assert.match(failure, /its output lies outside of its memory/);
      assert.equal(module.status().traps, 0);
    });
  }

  test("an error that lies outside is an error all the same", async () => {
    const { result, failure } = await ask("i64.const -1 $error_set i32.const 0");
    assert.equal(result, "failed");
    assert.match(failure, /the filter failed/);
  });

  test("blocks have their length until they are freed; a block that the plug-in made up has none", async () => {
    assert.equal(await numberOf("i64.const 5 $alloc $length i32.wrap_i64"), 5);
    assert.equal(await numberOf("i64.const 5 $alloc $length_unsafe i32.wrap_i64"), 5);
    assert.equal(await numberOf("i64.const 5 $alloc local.tee 0 $free local.get 0 $length i32.wrap_i64"), 0);
    // The size before the block is overwritten; the tag behind it stays.
    const forge = "i64.const 8 $alloc local.tee 0 i64.const 5 i64.sub i32.const 255 $store_u8";
    assert.equal(await numberOf(`${forge} local.get 0 $length i32.wrap_i64`), 0);
    const { bench, result } = await ask(`${forge} local.get 0 $log_info local.get 0 $free i32.const 0`);
    assert.deepEqual([result, bench.log.lines], ["forward", []]);
  });

  test("what lies outside reads as 0 and takes no write, at the very edge", async () => {
    const block = "i64.const 8 $alloc local.set 0 local.get 0 i64.const -1 $store_u64";
    assert.equal(await numberOf(`${block} local.get 0 i64.const 7 i64.add $load_u8`), 255);
    assert.equal(await numberOf(`${block} local.get 0 i64.const 8 i64.add $load_u8`), 0);
    assert.equal(await numberOf(`${block} local.get 0 $load_u64 i32.wrap_i64`), -1);
    assert.equal(await numberOf(`${block} local.get 0 i64.const 1 i64.add $load_u64 i32.wrap_i64`), 0);
    const beyond = `${block} local.get 0 i64.const 1 i64.add i64.const 0 $store_u64`;
    assert.equal(await numberOf(`${beyond} local.get 0 $load_u64 i32.wrap_i64`), -1);
    // The input begins with a brace.
    assert.equal(await numberOf("i64.const 0 $input_load_u8"), 0x7b);
    assert.equal(await numberOf("$input_length $input_load_u8"), 0);
    assert.equal(await numberOf("$input_length i64.const 1 i64.sub $input_load_u8"), 0x7d);
    assert.equal(await numberOf("$input_length i64.const 7 i64.sub $input_load_u64 i64.const 0 i64.ne"), 0);
    assert.equal(await numberOf("$input_length i64.const 8 i64.sub $input_load_u64 i64.const 0 i64.ne"), 1);
    assert.equal(await numberOf("$input_offset $free $input_length i32.wrap_i64"), 0);
  });
});

describe("extism: what one call leaves", () => {
  test("nothing of it is seen by the next", async () => {
    const bench = new ExtismBench();
    const dirty = "i64.const 64 $alloc local.tee 0 $load_u8 local.set 1 local.get 0 i32.const 85 $store_u8 local.get 1";
    const module = await bench.load(buildPlugin({ exports: { on_request: dirty } }));
    for (let i = 0; i < 3; i++) assert.equal(bench.exchange([module]).chain.requestHead(true), "forward");
    assert.equal(module.status().calls, 3);
  });

  test("all blocks of one call have a bound, and the next has all of it again", async () => {
    const bench = new ExtismBench();
    // How often a MiB can be had.
    const bomb = `block loop i64.const 1048576 $alloc i64.eqz br_if 1 local.get 1 i32.const 1 i32.add local.set 1 br 0 end end local.get 1`;
    const module = await bench.load(buildPlugin({ exports: { on_request: bomb } }));
    for (let i = 0; i < 5; i++) {
      const { chain } = bench.exchange([module]);
      assert.equal(chain.requestHead(true), "failed");
      assert.match(String(chain.failure), /it answered 15\)/);
    }
    // 15 blocks and what describes them, in whole pages, and the plug-in's own page.
    assert.equal(module.status().memoryBytes, 15 * 1024 * 1024 + 2 * 65_536);
    const small = await bench.load(buildPlugin({ exports: { on_request: bomb } }), { budget: { memoryBytes: 4 * 1024 * 1024 } });
    const { chain } = bench.exchange([small]);
    chain.requestHead(true);
    assert.match(String(chain.failure), /it answered 3\)/);
  });

  test("blocks that are freed are not had twice in one call", async () => {
    const bomb = `block loop i64.const 1048576 $alloc local.tee 0 i64.eqz br_if 1 local.get 0 $free local.get 1 i32.const 1 i32.add local.set 1 br 0 end end local.get 1`;
    assert.equal(await numberOf(bomb), 15);
  });
});

describe("extism: what breaks an instance", () => {
  const faults: readonly (readonly [name: string, source: string | PluginSource, reason: RegExp, change?: Change])[] = [
    ["an endless loop", "loop br 0 end i32.const 0", /used up its fuel of 1000000 in one callback/],
    [
      "more than an exchange's fuel",
      "loop br 0 end i32.const 0",
      /fuel of 900 in one exchange/,
      { budget: { exchangeFuel: 900 } },
    ],
    ["a trap", "unreachable", /trap: unreachable code/],
    ["an endless recursion", `call ${Object.keys(EXTISM_TYPES).length + 2}`, /calls nest too deep/],
    ["http_request", "i64.const 0 i64.const 0 $http_request drop i32.const 0", /may not call services by http_request/],
    [
      "variables beyond their budget",
      { text: "k", exports: { on_request: "$text i64.const 10 $alloc $var_set i32.const 0" } },
      /variables are larger than its budget/,
      { budget: { sharedDataBytes: 10 } },
    ],
    [
      "a variable whose name is too long",
      "i64.const 1025 $alloc i64.const 1 $alloc $var_set i32.const 0",
      /more than 1024 bytes in the name of a variable/,
    ],
  ];
  for (const [name, source, reason, change] of faults) {
    test(name, async () => {
      const { bench, module, result, failure } = await ask(source, change);
      assert.equal(result, "failed");
      assert.match(failure, reason);
      assert.deepEqual([module.status().traps, module.status().instances], [1, 0]);
      bench.clock.advance(1);
      assert.equal(module.status().instances, 1, "a new one comes at once the first time");
    });
  }

  test("variables are kept up to their budget, and gone when they are set to nothing", async () => {
    const bench = new ExtismBench();
    const change = { budget: { sharedDataBytes: 10 } };
    const keep = "$text i64.const 9 $alloc $var_set $text $var_get $length i32.wrap_i64";
    const module = await bench.load(buildPlugin({ text: "k", exports: { on_request: keep } }), change);
    const { chain } = bench.exchange([module]);
    chain.requestHead(true);
    assert.match(String(chain.failure), /it answered 9\)/);
    const drop = `${keep} drop $text i64.const 0 $var_set $text $var_get i32.wrap_i64`;
    assert.equal(await numberOf(drop, change, "k"), 0);
  });

  test("a function that answers the wrong type", async () => {
    const bench = new ExtismBench();
    const module = new ModuleAssembler();
    module.importFunction("extism:host/env", "alloc", ["i64"], ["i64"]);
    module.func({ name: "on_request", results: ["i64"], body: "i64.const 0" });
    await assert.rejects(bench.load(module.build()), /the export on_request is \(\) -> i64, not \(\) -> i32 or \(\) -> \(\)$/);
  });

  test("every exchange with a context in it gets onFailure, also one that is not in it now", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(buildPlugin({ exports: { on_response: "unreachable" } }));
    const [first, second] = [bench.exchange([module]), bench.exchange([module])];
    assert.equal(first.chain.requestHead(true), "forward");
    assert.equal(second.chain.requestHead(true), "forward");
    assert.equal(first.respond(200, [], true), "failed");
    await settle();
    assert.equal(second.failure?.code ?? second.chain.failure?.code, "filter_failed");
    assert.deepEqual(bench.metrics.traps, ["trap: unreachable code"]);
  });

  test("one that keeps breaking is quarantined; the others answer as ever", async () => {
    const bench = new ExtismBench();
    const good = await bench.load(PDK_ACTOR, { name: "default/good" });
    const bad = await bench.load(buildPlugin({ exports: { on_request: "loop br 0 end i32.const 0" } }), {
      budget: { faults: 3 },
    });
    for (let i = 0; i < 6; i++) {
      assert.equal(bench.exchange([bad]).chain.requestHead(true), "failed");
      const exchange = bench.exchange([good]);
      assert.equal(exchange.chain.requestHead(true), "forward");
      assert.equal(exchange.request.headers.get("x-seen"), "test none");
      await settle();
      bench.clock.advance(1_000);
    }
    assert.deepEqual([bad.status().quarantined, bad.status().traps, bad.status().instances], [true, 3, 0]);
    bench.clock.advance(2_000);
    assert.equal(bench.clock.pending, 0);
    bad.dispose();
    assert.deepEqual(bench.metrics.quarantined, ["default/plugin true", "default/plugin false"]);
    assert.deepEqual([good.status().traps, good.status().instances], [0, 1]);
  });

  test("isolated: each exchange has an instance of its own, which is used again", async () => {
    const bench = new ExtismBench();
    const module = await bench.load(answering("{}"), { isolated: true });
    const both = [bench.exchange([module]), bench.exchange([module])];
    for (const { chain } of both) assert.equal(chain.requestHead(true), "forward");
    assert.equal(module.status().instances, 2);
    for (const { chain } of both) chain.close();
    bench.exchange([module]).chain.requestHead(true);
    assert.equal(module.status().instances, 2);
  });
});

describe("extism: answers of any shape", () => {
  const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
  for (const status of ['{"toString":1}', '{"valueOf":1,"toString":null}', "[200]", deep, "true", "null", '"2e2"']) {
    test(`a status that is ${status.slice(0, 30)} is contained`, async () => {
      const bench = new ExtismBench();
      for (const [name, answer] of [
        ["on_request", `{"respond":{"status":${status}}}`],
        ["on_response", `{"status":${status}}`],
      ] as const) {
        const module = await bench.load(answering(answer, name), { budget: { callbackFuel: 10_000_000 } });
        const exchange = bench.exchange([module]);
        exchange.chain.requestHead(true);
        if (name === "on_response") exchange.respond(200, [], true);
        assert.match(
          String(exchange.chain.failure),
          status === deep ? /its answer is no JSON/ : /a status is none of 200 to 599/,
        );
      }
    });
  }

  test("names to remove: so many, and no more", async () => {
    for (const [count, result] of [
      [EXTISM_LIMITS.removedNames, "forward"],
      [EXTISM_LIMITS.removedNames + 1, "failed"],
    ] as const) {
      const bench = new ExtismBench();
      const module = await bench.load(
        answering(JSON.stringify({ headers: { remove: new Array(count).fill("a") } }), "on_request"),
      );
      assert.equal(bench.exchange([module]).chain.requestHead(true), result);
    }
  });
});

describe("extism: bounds that do not break it", () => {
  test("its memory grows to its budget and no further", async () => {
    const budget = { memoryBytes: 2 * 65_536 };
    assert.equal(await numberOf("i32.const 1 memory.grow 0", { budget }), 1);
    assert.equal(await numberOf("i32.const 2 memory.grow 0", { budget }), -1);
  });

  test("calls of the host", async () => {
    const third = "$text $config_get drop $text $config_get drop $text $config_get $length i32.wrap_i64";
    const settings = '{"a":"bcd"}';
    assert.equal(await numberOf(third, { settings, budget: { hostCallsPerCallback: 3 } }, "a"), 3);
    // "There is none" would have it forget its settings.
    const beyond = await ask({ exports: { on_request: third }, text: "a" }, { settings, budget: { hostCallsPerCallback: 2 } });
    assert.match(beyond.failure, /more calls to the host than its budget/);
    assert.equal(beyond.bench.metrics.stats.faults.get("budget"), 1);
  });

  test("calls of the host in one exchange", async () => {
    const third = "$text $config_get drop $text $config_get drop $text $config_get $length i32.wrap_i64";
    const bench = new ExtismBench();
    const plugin = buildPlugin({ text: "a", exports: { on_request: `${third} drop i32.const 0`, on_response: third } });
    for (const [hostCallsPerExchange, words] of [
      [6, /it answered 3/],
      [5, /more calls to the host than its budget/],
    ] as const) {
      const module = await bench.load(plugin, { settings: '{"a":"bcd"}', budget: { hostCallsPerExchange } });
      for (let i = 0; i < 2; i++) {
        const exchange = bench.exchange([module]);
        assert.equal(exchange.chain.requestHead(true), "forward");
        exchange.respond(200, [], true);
        assert.match(String(exchange.chain.failure), words);
      }
    }
  });

  test("log lines per second, by level", async () => {
    const loop = `block loop local.get 1 i32.const 200 i32.ge_u br_if 1 $text $log_warn local.get 1 i32.const 1 i32.add local.set 1 br 0 end end i32.const 0`;
    const { bench, result } = await ask({ text: "hi", exports: { on_request: loop } });
    assert.equal(result, "forward");
    assert.equal(bench.log.lines.filter((line) => line === "warn hi").length, 100);
    const levels = ["trace", "debug", "info", "warn", "error"].map((level) => `$text $log_${level}`).join(" ");
    const all = await ask({ text: "hi", exports: { on_request: `${levels} i32.const 0` } });
    assert.deepEqual(all.bench.log.lines, ["debug hi", "debug hi", "info hi", "warn hi", "error hi"]);
    assert.equal(await numberOf("$get_log_level i32.const 7 i32.add"), 7);
  });

  test("an output that is larger than what it may answer", async () => {
    const { failure, module } = await ask("i64.const 2000000 $alloc i64.const 2000000 $output_set i32.const 0");
    assert.match(failure, /answer is larger than its budget/);
    assert.equal(module.status().traps, 0);
  });

  test("an answer that nests without end", async () => {
    const nested = `{"headers":${"[".repeat(3_000)}`;
    const bench = new ExtismBench();
    const exchange = bench.exchange([await bench.load(answering(nested))]);
    assert.equal(exchange.chain.requestHead(true), "failed");
    assert.match(String(exchange.chain.failure), /is no JSON/);
  });
});

describe("extism: WASI preview 1", () => {
  /** A plug-in with one function of WASI; `body` is that of `on_request`. */
  async function askWasi(name: string, params: readonly ("i32" | "i64")[], body: string, memory = true) {
    const bench = new ExtismBench();
    const module = new ModuleAssembler();
    module.importFunction("wasi_snapshot_preview1", name, params, name === "proc_exit" ? [] : ["i32"]);
    if (memory) module.memory(1, undefined, "memory").data([8, 0, 0, 0, 2, 0, 0, 0, 0x68, 0x69], 0);
    module.func({ name: "on_request", results: ["i32"], body });
    const exchange = bench.exchange([await bench.load(module.build())]);
    exchange.chain.requestHead(true);
    return { lines: bench.log.lines, failure: String(exchange.chain.failure ?? "") };
  }
  const four = ["i32", "i32", "i32", "i32"] as const;

  test("what is written to standard output and error goes to the log", async () => {
    const out = await askWasi("fd_write", four, "i32.const 1 i32.const 0 i32.const 1 i32.const 64 call 0");
    assert.deepEqual(out, { lines: ["info hi"], failure: "" });
    const error = await askWasi("fd_write", four, "i32.const 2 i32.const 0 i32.const 1 i32.const 64 call 0");
    assert.deepEqual(error.lines, ["error hi"]);
  });

  test("bad pointers, files, and a plug-in without a memory get errors", async () => {
    const beyond = await askWasi("fd_write", four, "i32.const 1 i32.const -4 i32.const 1 i32.const 64 call 0");
    assert.match(beyond.failure, /it answered 21\)/);
    const random = await askWasi("random_get", ["i32", "i32"], "i32.const 65530 i32.const 100 call 0");
    assert.match(random.failure, /it answered 21\)/);
    const file = await askWasi("fd_close", ["i32"], "i32.const 3 call 0");
    assert.match(file.failure, /it answered 8\)/);
    const none = await askWasi("random_get", ["i32", "i32"], "i32.const 0 i32.const 4 call 0", false);
    assert.match(none.failure, /it answered 52\)/);
  });

  test("to exit breaks the instance", async () => {
    const { failure } = await askWasi("proc_exit", ["i32"], "i32.const 3 call 0 i32.const 0");
    assert.match(failure, /the guest exited with code 3/);
  });
});

describe("extism: refused when it is loaded", () => {
  const exported = { on_request: "i32.const 0" };
  const plugins: readonly (readonly [name: string, wasm: () => Uint8Array, reason: RegExp])[] = [
    ["no callback", () => buildPlugin({ exports: { count_vowels: "i32.const 0" } }), /exports none of on_request/],
    [
      "a start function that never ends",
      () => buildPlugin({ exports: exported, start: "loop br 0 end" }),
      /used up its fuel of \d+ while it started/,
    ],
    ["a start function that traps", () => buildPlugin({ exports: exported, start: "unreachable" }), /./],
    [
      "a start function that calls out",
      () => buildPlugin({ exports: exported, start: "i64.const 0 i64.const 0 $http_request drop" }),
      /may not call services by http_request/,
    ],
    ["on_configure that fails", () => buildPlugin({ exports: { ...exported, on_configure: "i32.const 1" } }), /it answered 1/],
    [
      "on_configure that traps",
      () => buildPlugin({ exports: { ...exported, on_configure: "unreachable" } }),
      /trap: unreachable/,
    ],
    [
      "on_configure that never ends",
      () => buildPlugin({ exports: { ...exported, on_configure: "loop br 0 end i32.const 0" } }),
      /used up its fuel of \d+ while it started/,
    ],
    [
      "functions of somebody's host",
      () => buildPlugin({ exports: exported, imports: [["extism:host/user", "f"]] }),
      /imports function extism:host\/user\.f/,
    ],
    [
      "functions of the memory that are for the host alone",
      () => buildPlugin({ exports: exported, imports: [["extism:host/env", "begin"]] }),
      /imports function extism:host\/env\.begin/,
    ],
    [
      "an import of another type",
      () => {
        const module = new ModuleAssembler();
        module.importFunction("extism:host/env", "alloc", ["i32"], ["i32"]);
        module.func({ name: "on_request", results: ["i32"], body: "i32.const 0" });
        return module.build();
      },
      /alloc/,
    ],
    [
      "a callback that takes parameters",
      () => {
        const module = new ModuleAssembler();
        module.func({ name: "on_request", params: ["i32"], results: ["i32"], body: "i32.const 0" });
        return module.build();
      },
      /the export on_request is \(i32\) -> i32, not \(\) -> i32 or \(\) -> \(\)/,
    ],
    [
      "a callback that is no function",
      () => {
        const module = new ModuleAssembler();
        module.global("i32", "i32.const 0", "on_request");
        return module.build();
      },
      /on_request is not a function/,
    ],
  ];
  for (const [name, wasm, reason] of plugins) {
    test(name, async () => {
      const bench = new ExtismBench();
      await assert.rejects(bench.load(wasm()), reason);
      assert.deepEqual([bench.shared.size, bench.clock.pending, bench.metrics.pulls.size], [0, 0, 0]);
    });
  }

  test("random damage is refused with a reason, or harmless", async () => {
    const bench = new ExtismBench();
    let seed = 20_251;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0;
      return (seed >>> 8) % below;
    };
    let refused = 0;
    for (let i = 0; i < 40; i++) {
      const damaged = answering('{"headers":{"set":[["x-a","1"]]}}').slice();
      for (let n = 0; n <= i % 3; n++) damaged[8 + random(damaged.length - 8)] = random(256);
      try {
        const module = await bench.load(damaged);
        const { chain } = bench.exchange([module]);
        assert.ok(["forward", "failed", "respond"].includes(chain.requestHead(true)));
        chain.close();
        module.dispose();
      } catch (error) {
        assert.ok(error instanceof Error && !(error instanceof assert.AssertionError), String(error));
        refused++;
      }
    }
    assert.ok(refused > 10);
  });
});
