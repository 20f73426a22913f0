import assert from "node:assert/strict";
import { checkSettings } from "../../src/config/settings-schema.ts";
import {
  DEFAULT_FILTER_BUDGET,
  FILTER_HEAD_LIMITS,
  METER_LIMITS,
  PREPARE_LIMITS,
  SET_ATTRIBUTE_LIMITS,
} from "../../src/core/limits.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { sizeOfFields } from "../../src/filters/guest/head-budget.ts";
import * as abi from "../../src/filters/proxy-wasm/abi.ts";
import { ModuleAssembler } from "./assembler.ts";
import { STARVING } from "./attack-turns.ts";
import { copyingStart, workAttacks } from "./attack-work.ts";
import { type Attack, atLoad, inCallbacks } from "./attacks.ts";
import { ComponentBench } from "./component.ts";
import { buildPlugin, ExtismBench } from "./extism.ts";
import { FilterBench, filterConfig, type TestExchange } from "./filters.ts";
import { ALLOCATOR_MODES, buildPuppet, HOST_CALLS, OUT_A, OUT_B, type Script } from "./puppet.ts";
import { uleb } from "./wasm.ts";

/** A thousand attacks must not end in quarantine: they are to reach the host each time. */
const PLAIN_GRANTS = {
  headers: { request: { read: ["*"], write: ["*"] }, response: { read: ["*"], write: ["*"] } },
  attributes: { read: ["*"], write: ["*"] },
};
const BUDGET = { faults: 0, callbackFuel: 200_000, exchangeFuel: 2_000_000, startFuel: 2_000_000 } as const;
const CALLBACKS = ["context_create", "request_headers", "request_body", "request_trailers", "response_headers"].concat([
  "response_body",
  "response_trailers",
  "done",
  "log",
  "delete",
  "tick",
]);

function* nothing(): ReturnType<Script> {
  yield* [];
  return 0;
}

/** What comes of an attack, with words of the reason: its exchange has `onFailure`, or goes on because it was over or is not concerned. */
const FAILED = (reason: string): RegExp => new RegExp(`^failed \\(${reason}`);
const GOES_ON = (reason: string): RegExp => new RegExp(`^forward \\(${reason}`);
/** The guest was told of it, and lives on. */
const UNHARMED = /^forward$/;
const OUT_OF_FUEL = "it used up its fuel of N in one callback";
const TOO_DEEP = "its calls nest too deep";
const TRAPPED = "trap: unreachable code";

/** A puppet with one script in one callback. */
function puppet(
  name: string,
  expect: RegExp,
  callback: string,
  script: Script,
  check?: (exchange: TestExchange, bench: FilterBench) => string,
  change: Parameters<typeof filterConfig>[0] = {},
): Attack {
  const load = (bench: FilterBench) => {
    // The context of the plugin itself is made while it loads.
    const isForPlugin = (first: number | undefined): boolean => callback === "context_create" && first === 1;
    bench.puppet.on(callback, (guest, ...parameters) => (isForPlugin(parameters[0]) ? nothing() : script(guest, ...parameters)));
    if (callback === "tick")
      bench.puppet.on("configure", function* (guest) {
        yield guest.host("proxy_set_tick_period_milliseconds", 500);
        return 1;
      });
    return bench.load(filterConfig({ ...change, budget: { ...BUDGET, ...change.budget } }));
  };
  const checked = (exchange: TestExchange, bench: FilterBench): string => {
    for (const error of bench.puppet.errors) throw error;
    bench.puppet.entered.length = 0;
    return check?.(exchange, bench) ?? "";
  };
  return inCallbacks(name, expect, () => new FilterBench(), load, checked);
}

const command = (name: string): Script =>
  function* (guest) {
    yield guest.host(name, 3);
    return 0;
  };
/** A loop costs what fuel it gets. */
const LITTLE = { budget: { callbackFuel: 20_000 } };
/** Fuel is not what ends it: other bounds are to be seen. */
const RICH = { budget: { callbackFuel: 20_000_000, exchangeFuel: 200_000_000 } };
/** Callbacks whose answer decides nothing. */
const SILENT: ReadonlySet<string> = new Set(["done", "log", "delete", "tick"]);
const everywhere = (name: string, own: string, reason: string): Attack[] =>
  CALLBACKS.map((callback) => {
    const expect = (SILENT.has(callback) ? GOES_ON : FAILED)(reason);
    return puppet(`${name} in ${callback}`, expect, callback, command(own), undefined, LITTLE);
  });

/** A guest of flat text; its attack runs in `proxy_on_request_headers`. */
function assembled(
  name: string,
  expect: RegExp,
  body: string,
  build: (module: ModuleAssembler) => void = () => {},
  limits: Readonly<Record<string, number>> = {},
): Attack {
  const module = new ModuleAssembler();
  build(module);
  module.memory(1, undefined, "memory");
  module.func({ name: "proxy_abi_version_0_2_1", body: "" });
  module.func({ name: "malloc", params: ["i32"], results: ["i32"], body: "i32.const 1024" });
  module.func({ name: "proxy_on_request_headers", params: ["i32", "i32", "i32"], results: ["i32"], body });
  const wasm = module.build();
  const budget = { ...BUDGET, memoryBytes: 4 * 1024 * 1024, ...limits };
  return inCallbacks(
    name,
    expect,
    () => new FilterBench(),
    (bench) => bench.load(filterConfig({ budget }), wasm),
  );
}

const NUMBERS = [0, 1, 7, 260, 65_535, 65_536, 65_537, 0x7fff_ffff, -1, -2, -0x8000_0000, 0xffff_fff0 | 0];

/** Every host call with numbers that mean no good; none may break anything but the guest. */
const wild = (seed: number): Script =>
  function* (guest) {
    const rng = new SeededRng(seed + rounds++);
    for (const [name, parameters] of Object.entries(HOST_CALLS)) {
      if (name === "proxy_call_foreign_function") continue;
      const args = parameters.map((type) => {
        const value = NUMBERS[rng.below(NUMBERS.length)] as number;
        return type === "i64" ? BigInt(value) : value;
      });
      const status = yield guest.host(name, ...args);
      assert.ok(status >= 0 && status <= abi.UNIMPLEMENTED, `${name} answered ${status}`);
    }
    return 0;
  };
let rounds = 0;

const growing: Script = function* (guest) {
  guest.allocator(ALLOCATOR_MODES.growing);
  for (let i = 0; i < 8; i++) yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
  return 0;
};
const allocating = (mode: number): Script =>
  function* (guest) {
    guest.allocator(mode);
    yield guest.host("proxy_get_header_map_pairs", 0, OUT_A, OUT_B);
    return 0;
  };

/** Fills whatever the host keeps for it: every name is new. */
const hoard: Script = function* (guest) {
  for (let i = 0; i < 20; i++) {
    const key = `k${hoarded++}`;
    const at = guest.put(key);
    yield guest.host("proxy_define_metric", i % 3, at, key.length, OUT_A);
    yield guest.host("proxy_set_shared_data", at, key.length, 4096, 8192, 0);
    yield guest.host("proxy_register_shared_queue", at, key.length, OUT_A);
    yield guest.host("proxy_enqueue_shared_queue", 1, 4096, 8192);
    yield guest.host("proxy_set_property", at, key.length, 4096, 8192);
    yield guest.host("proxy_log", 2, 4096, 8192);
    yield guest.host("proxy_get_header_map_value", 0, at, key.length, OUT_A, OUT_B);
    yield guest.host("proxy_get_property", at, key.length, OUT_A, OUT_B);
  }
  return 0;
};
let hoarded = 0;

const naming: Script = function* (guest) {
  for (let i = 0; i < SET_ATTRIBUTE_LIMITS.names + 44; i++) {
    const name = `selvedge.log.${i}`;
    yield guest.host("proxy_set_property", guest.put(name), name.length, 4096, 8);
  }
  return 0;
};

const bomb = (map: number): Script =>
  function* (guest) {
    const [name, value] = [guest.put("x-bomb"), guest.put("v".repeat(4096))];
    for (let i = 0; i < 400; i++) yield guest.host("proxy_add_header_map_value", map, name, 6, value, 4096);
    // As many pairs as fit a page, and a count that promises many more.
    yield guest.host("proxy_set_header_map_pairs", map, ...guest.putPairs(new Array(1_500).fill(["a", ""])));
    guest.memory.writeUInt32LE(0x1fff_ffff, 20_000);
    yield guest.host("proxy_set_header_map_pairs", map, 20_000, 40_000);
    return 0;
  };

/** Reads everything that there is, and keeps it in what it may see. */
const SECRETS = ["authorization", "cookie", "proxy-authorization", "x-api-key"];
const curious: Script = function* (guest) {
  const paths = ["request", "response", "source", "destination", "connection", "upstream", "xds", "metadata", "filter_state"];
  const names = ["headers", "trailers", "path", "referer", "useragent", "address", "id", "filter_metadata", ...SECRETS];
  for (const root of paths) {
    for (const name of ["", ...names]) {
      for (const last of ["", ...SECRETS]) {
        const path = [root, name, last].filter((part) => part !== "").join("\0");
        const status = yield guest.host("proxy_get_property", guest.put(path), path.length, OUT_A, OUT_B);
        if (status === abi.OK) assert.ok(!guest.given(OUT_A, OUT_B).includes("secret"), path);
      }
    }
  }
  return 0;
};
/** On and on: the host answers so many calls of one callback and no more. */
let asked = 0;
const insatiable: Script = function* (guest) {
  const path = "request\0headers\0cookie";
  const at = guest.put(path);
  for (asked = 1; ; asked++) assert.equal(yield guest.host("proxy_get_property", at, path.length, OUT_A, OUT_B), abi.NOT_FOUND);
};
/** Fuel for all of it, so that the calls are what ends. */
const CALLS = { callbackFuel: 100_000_000, exchangeFuel: 1_000_000_000 };
const askedEverything = ({ chain }: TestExchange): string => {
  assert.equal(chain.failure, undefined, "it was not ended before it had asked for everything");
  return "";
};
const askedTooOften = ({ chain }: TestExchange): string => {
  // Each step of the puppet is a call of the host as well.
  assert.equal(asked, DEFAULT_FILTER_BUDGET.hostCallsPerCallback / 2);
  assert.equal(chain.failure, undefined);
  return "ended by the number of its calls";
};

/** Gone exchanges, running instances: whatever it names, it reaches nothing. */
const ghosts: Script = function* (guest) {
  for (const id of [0, 1, 2, 3, 7, 1_000_000, -1, 0x7fff_ffff]) {
    yield guest.host("proxy_set_effective_context", id);
    yield guest.host("proxy_done");
    yield guest.host("proxy_continue_stream", 0);
    yield guest.host("proxy_continue_stream", 1);
    yield guest.host("proxy_send_local_response", 200, 0, 0, 0, 0, 0, 0, -1);
    yield guest.host("proxy_add_header_map_value", 0, guest.put("x-ghost"), 7, guest.put("1"), 1);
  }
  return 0;
};

const GROUPS: Readonly<Record<string, () => Attack[]>> = {
  loops: () => everywhere("endless loop", "spin", OUT_OF_FUEL),
  recursion: () => [
    ...everywhere("endless recursion", "recurse", TOO_DEEP),
    puppet("recursion with a host call in each frame", FAILED(TOO_DEEP), "request_headers", command("recurse-host"), undefined, {
      budget: { callbackFuel: 20_000_000, exchangeFuel: 20_000_000, hostCallsPerCallback: 1_000_000 },
    }),
  ],
  traps: () => [
    ...everywhere("trap", "trap", TRAPPED),
    puppet("abort", FAILED("abort: "), "request_headers", command("abort")),
    puppet("exit", FAILED("the guest exited with code N"), "response_headers", command("exit")),
  ],
  memory: () => [
    assembled(
      "memory.grow until it fails",
      FAILED(TRAPPED),
      "loop i32.const 1 memory.grow 0 i32.const -1 i32.ne br_if 0 end memory.size 0 i32.const 8 i32.eq if unreachable end i32.const 0",
      undefined,
      {
        memoryBytes: 8 * 65_536,
        callbackFuel: 2_000_000,
      },
    ),
    assembled(
      "memory.grow by 65,535 pages, on and on",
      FAILED(OUT_OF_FUEL),
      "loop i32.const 65535 memory.grow 0 drop br 0 end i32.const 0",
    ),
    assembled(
      "memory.fill of all of it, on and on",
      FAILED(OUT_OF_FUEL),
      "loop i32.const 0 i32.const 7 i32.const 65536 memory.fill 0 br 0 end i32.const 0",
    ),
    assembled(
      "memory.fill beyond its end",
      FAILED(OUT_OF_FUEL),
      "i32.const 1 i32.const 7 i32.const -1 memory.fill 0 i32.const 0",
    ),
    assembled(
      "table.grow, on and on",
      FAILED(OUT_OF_FUEL),
      "loop ref.null funcref i32.const 100000 table.grow 0 drop br 0 end i32.const 0",
      (module) => void module.table(1),
    ),
    assembled(
      "br_table of as many targets as load, on and on",
      FAILED(OUT_OF_FUEL),
      `loop block block local.get 0 br_table ${"0 1 ".repeat(METER_LIMITS.branchTargets / 2)},1 end br 1 end br 0 end i32.const 0`,
    ),
    puppet(
      "memory that grows under host calls",
      new RegExp(`^forward$|${FAILED(OUT_OF_FUEL).source}`),
      "request_headers",
      growing,
    ),
    ...Object.entries({
      zero: UNHARMED,
      beyond: UNHARMED,
      wrapping: UNHARMED,
      asking: UNHARMED,
      trap: FAILED(TRAPPED),
      spin: FAILED(OUT_OF_FUEL),
    }).map(([mode, expect]) =>
      puppet(`allocator: ${mode}`, expect, "response_headers", allocating(ALLOCATOR_MODES[mode as keyof typeof ALLOCATOR_MODES])),
    ),
  ],
  pointers: () =>
    ["request_headers", "request_body", "response_headers", "log", "tick"].map((callback, i) =>
      puppet(`bad pointers and lengths in ${callback}`, /^(forward|respond)$/, callback, wild(i)),
    ),
  hoard: () => [
    puppet("host memory by metrics, data, queues, attributes, lines", UNHARMED, "request_headers", hoard, undefined, RICH),
    puppet("the same in a tick", UNHARMED, "tick", hoard, undefined, RICH),
    puppet("attributes, each of another name", UNHARMED, "request_body", naming, namedAll, RICH),
    puppet("header bomb in a request", UNHARMED, "request_headers", bomb(0), bounded, RICH),
    puppet("header bomb in an answer", UNHARMED, "response_headers", bomb(2), bounded, RICH),
    puppet("header bomb in trailers", UNHARMED, "request_trailers", bomb(1), bounded, RICH),
  ],
  starve: () => [...STARVING],
  life: () => [
    puppet("contexts that are gone", /^respond$/, "request_headers", ghosts),
    puppet("contexts that are gone, from a tick", UNHARMED, "tick", ghosts),
    puppet("never done", GOES_ON(TRAPPED), "done", command("trap")),
    puppet("secrets through properties", UNHARMED, "request_headers", curious, askedEverything, {
      capabilities: PLAIN_GRANTS,
      budget: CALLS,
    }),
    puppet("secrets through properties, of an answer", UNHARMED, "response_headers", curious, askedEverything, {
      ...{ capabilities: PLAIN_GRANTS, budget: CALLS },
    }),
    puppet(
      "secrets through properties, again and again",
      /^ended by the number of its calls$/,
      "request_headers",
      insatiable,
      askedTooOften,
      {
        ...{ capabilities: PLAIN_GRANTS, budget: CALLS },
      },
    ),
  ],
  component: () =>
    Object.entries({
      loop: ["loop", OUT_OF_FUEL],
      recursion: ["recurse", TOO_DEEP],
      trap: ["trap", TRAPPED],
      panic: ["panic", TRAPPED],
      "memory.grow": ["grow 65535; loop", OUT_OF_FUEL],
      "a list of 60,000 fields": ["long-list 60000", OUT_OF_FUEL],
      "50,000 host calls": ["calls 50000", OUT_OF_FUEL],
    } as const).map(([name, [lines, reason]]) =>
      inCallbacks(
        `component: ${name}`,
        FAILED(reason),
        () => new ComponentBench(),
        (bench) => bench.actor({ "request-head": lines }, { budget: { ...BUDGET, startFuel: 200_000_000 } }),
      ),
    ),
  extism: () =>
    Object.entries({
      loop: ["loop br 0 end i32.const 0", FAILED(OUT_OF_FUEL)],
      trap: ["unreachable", FAILED(TRAPPED)],
      "blocks without end": ["loop i64.const 65536 $alloc drop br 0 end i32.const 0", FAILED(OUT_OF_FUEL)],
      "bad output": ["i64.const -8 i64.const 9999999 $output_set i32.const 0", /^failed$/],
      "bad error": ["i64.const -8 $error_set i32.const 0", /^failed$/],
      http: ["i64.const 0 i64.const 0 $http_request drop i32.const 0", FAILED("it may not call services")],
    } as const).map(([name, [body, expect]]) => {
      const wasm = buildPlugin({ exports: { on_request: body } });
      return inCallbacks(
        `extism: ${name}`,
        expect,
        () => new ExtismBench(),
        (bench) => bench.load(wasm, { budget: BUDGET }),
      );
    }),
  work: () => workAttacks(BUDGET, FAILED(OUT_OF_FUEL)),
  load: () => atLoads(),
};

function namedAll({ chain }: TestExchange): string {
  assert.equal(chain.notes?.size, SET_ATTRIBUTE_LIMITS.names);
  return "";
}

/** A head is never larger than what a peer may send, whatever a filter adds to it. */
function bounded(exchange: TestExchange): string {
  const { request, response, chain } = exchange;
  for (const block of [request.headers, response?.headers, chain.requestTrailers, chain.responseTrailers]) {
    if (block === undefined) continue;
    assert.ok(block.length <= FILTER_HEAD_LIMITS.fields + 10, `${block.length} fields`);
    assert.ok(sizeOfFields(block.names, block.values) <= FILTER_HEAD_LIMITS.bytes + 1_000);
  }
  return "";
}

/** The least that loads, with something more. */
function plain(build: (module: ModuleAssembler) => void): ModuleAssembler {
  const module = new ModuleAssembler();
  module.func({ name: "forever", body: "call 0" });
  module.memory(1, undefined, "memory");
  build(module);
  module.func({ name: "proxy_abi_version_0_2_1", body: "" });
  module.func({ name: "malloc", params: ["i32"], results: ["i32"], body: "i32.const 1024" });
  return module;
}
const CONFIGURE = { name: "proxy_on_configure", params: ["i32", "i32"], results: ["i32"] } as const;

/** A custom section of so many bytes behind a module. */
function padded(bytes: number): Uint8Array {
  const wasm = plain(() => {}).build();
  const out = new Uint8Array(wasm.length + bytes + 16);
  out.set(wasm);
  const size = uleb(bytes + 2);
  out.set([0, ...size, 1, 0x78], wasm.length);
  return out.subarray(0, wasm.length + 1 + size.length + bytes + 2);
}

function jumping(targets: number): Uint8Array {
  const list = "0 ".repeat(targets);
  return plain(
    (module) => void module.func({ name: "proxy_on_tick", params: ["i32"], body: `block local.get 0 br_table ${list},0 end` }),
  ).build();
}

let damages = 1;
/** A puppet of which some bytes are others: different ones each time. */
function damaged(): Uint8Array {
  const rng = new SeededRng(damages++);
  const wasm = buildPuppet();
  for (let i = 0; i < 1 + rng.below(8); i++) wasm[8 + rng.below(wasm.length - 8)] = rng.below(256);
  return wasm;
}

/** No pattern of a filter's own schema reaches a regex engine of the host: this one would take years. */
function patterned(): Uint8Array {
  const schema = { type: "object", properties: { name: { type: "string", pattern: "^(a+)+$" } } };
  const text = new TextEncoder().encode(JSON.stringify({ name: "x", version: "1.0.0", settings: schema }));
  const wasm = plain((module) => void module.custom("selvedge.filter", [...text])).build();
  checkSettings(wasm, JSON.stringify({ name: `${"a".repeat(100)}!` }));
  return wasm;
}

function atLoads(): Attack[] {
  const bench = new FilterBench();
  const load = async (wasm: Uint8Array) => {
    try {
      return await bench.load(filterConfig({ budget: BUDGET }), wasm);
    } finally {
      // The thread of large modules has its last word, and its time: what it holds is no part of what is kept.
      await new Promise((resolve) => setTimeout(resolve, 20));
      bench.clock.advance(PREPARE_LIMITS.threadIdleMs);
    }
  };
  const of = (name: string, expect: RegExp, make: () => Uint8Array): Attack => atLoad(name, expect, make, load);
  return [
    of("endless loop in a start function", /^refused .*fuel/, () =>
      plain((m) => void m.start(m.func({ body: "loop br 0 end" }))).build(),
    ),
    of("endless loop in proxy_on_configure", /^refused .*fuel/, () =>
      plain((m) => void m.func({ ...CONFIGURE, body: "loop br 0 end i32.const 1" })).build(),
    ),
    of("a start that has the host copy", /^refused .*it used up its fuel of N while it started/, copyingStart),
    of("endless recursion in _initialize", /^refused .*too deep/, () =>
      plain((m) => void m.func({ name: "_initialize", body: "call 0" })).build(),
    ),
    of("a start that grows without end", /^refused .*fuel/, () =>
      plain((m) => void m.start(m.func({ body: "loop i32.const 1 memory.grow 0 drop br 0 end" }))).build(),
    ),
    of("exports of wrong types", /^refused .*proxy_on_log/, () =>
      plain((m) => void m.global("i32", "i32.const 1", "proxy_on_log")).build(),
    ),
    of("callbacks of wrong types", /^refused .*proxy_on_request_headers/, () =>
      plain(
        (m) => void m.func({ name: "proxy_on_request_headers", params: ["i64"], results: ["i32"], body: "i32.const 0" }),
      ).build(),
    ),
    of("an allocator of a wrong type", /^refused .*malloc/, () => {
      const module = new ModuleAssembler().memory(1, undefined, "memory");
      module.func({ name: "proxy_abi_version_0_2_1", body: "" });
      module.func({ name: "malloc", params: ["i64"], results: ["i32"], body: "i32.const 0" });
      return module.build();
    }),
    of("a callback that answers another type", /^refused .*proxy_on_configure/, () =>
      plain((m) => void m.func({ ...CONFIGURE, results: ["i64"], body: "i64.const 1" })).build(),
    ),
    of("no exports", /^refused /, () => new ModuleAssembler().build()),
    of("more memory than its budget at once", /^refused .*memory/, () =>
      new ModuleAssembler().memory(60_000, undefined, "memory").build(),
    ),
    of("a table of 100 million", /^refused .*table/, () => plain((m) => void m.table(100_000_000)).build()),
    of("br_table of 100,000 targets", /^refused .*br_table/, () => jumping(100_000)),
    of("a module of 50 MB", /^loaded$/, () => padded(50_000_000)),
    of("a module with damage", /^(refused |loaded)/, damaged),
    of("a schema with a pattern that takes years", /^loaded$/, patterned),
  ];
}

export const GROUP_NAMES: readonly string[] = Object.keys(GROUPS);
export const attacksOf = (group: string): Attack[] => GROUPS[group]?.() ?? [];
