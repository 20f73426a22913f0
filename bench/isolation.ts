/**
 * What putting an isolated instance back costs, in CPU time of the thread: `bun bench/isolation.ts [--json]`, and the same with
 * `deno run -A --no-lock`. First the ways to do it, on memories of which an exchange wrote 64 KiB; then exchanges through the chain,
 * isolated less not isolated. docs/adr/0006 has what was chosen and why.
 */
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { DeadlineQueue } from "../src/core/deadline.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { ChainPool } from "../src/filters/chain.ts";
import { ComponentHost } from "../src/filters/component/host.ts";
import type { FilterMetrics, FilterModule } from "../src/filters/contract.ts";
import { ExtismHost } from "../src/filters/extism/host.ts";
import { Isolation } from "../src/filters/guest/isolation.ts";
import { SharedState } from "../src/filters/guest/shared.ts";
import { meterModule } from "../src/filters/meter/index.ts";
import { ForeignFunctions } from "../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../src/filters/proxy-wasm/host.ts";
import { FilterStats } from "../src/filters/stats.ts";
import { ModuleAssembler, type Type } from "../test/kit/assembler.ts";
import { readGuest } from "../test/kit/component.ts";
import { filterConfig, TestExchange } from "../test/kit/filters.ts";
import { threadClock } from "./thread-clock.ts";

const PAGE = 65_536;
const ROUNDS = 9;
/** Pages of the memory, and how many of them are not zero when it is kept: as toolchains make them. */
const MEMORIES = [
  { pages: 17, live: 2 },
  { pages: 32, live: 5 },
  { pages: 64, live: 16 },
  { pages: 256, live: 96 },
] as const;

const threadMs = await threadClock();
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number;
interface Row {
  readonly what: string;
  readonly us: number;
}

/** Microseconds of `run` after `before`, which is taken off. Several in turn, so that noise hits all alike. */
function measure(ways: Readonly<Record<string, () => void>>, before: () => void, count: number): Map<string, number> {
  const times = new Map(Object.keys(ways).map((name) => [name, [] as number[]]));
  const timed = (run: () => void): number => {
    const start = threadMs();
    for (let i = 0; i < count; i++) run();
    return ((threadMs() - start) * 1000) / count;
  };
  for (let round = 0; round < ROUNDS; round++) {
    const alone = timed(before);
    for (const [name, way] of Object.entries(ways)) {
      const both = timed(() => {
        before();
        way();
      });
      times.get(name)?.push(both - alone);
    }
  }
  return new Map([...times].map(([name, list]) => [name, median(list)]));
}

/** A module of nothing but a memory, put back by the product's own code and by others. */
function benchWays({ pages, live }: (typeof MEMORIES)[number]): Row[] {
  const wasm = new ModuleAssembler().memory(pages, undefined, "memory").build();
  const options = { fuel: 1, memoryBytes: pages * PAGE, tableElements: 1, keeps: true };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(meterModule(wasm, options).bytes), {});
  const bytes = new Uint8Array((exports.memory as WebAssembly.Memory).buffer);
  const [liveFrom, liveTo] = [(pages - live - 1) * PAGE, (pages - 1) * PAGE];
  for (let i = liveFrom; i < liveTo; i++) bytes[i] = (i * 31) | 1;
  const isolation = new Isolation({ fuelUsed: 0 });
  isolation.add(exports);
  isolation.keep();
  const copy = bytes.slice();
  const dirty = [liveFrom - 24_576, liveTo - 40_960] as const;
  const before = (): void => {
    bytes.fill(7, dirty[0], liveFrom);
    bytes.fill(9, dirty[1], liveTo);
  };
  const [kept, live64] = [Buffer.from(copy.buffer), Buffer.from(bytes.buffer as ArrayBuffer)];
  const found = measure(
    {
      "zeros are filled, the rest is copied": () => void isolation.restore(),
      "all is copied": () => bytes.set(copy),
      "compared by 4 KiB": () => {
        for (let at = 0; at < bytes.length; at += 4096)
          if (kept.compare(live64, at, at + 4096, at, at + 4096) !== 0) bytes.set(copy.subarray(at, at + 4096), at);
      },
      "what was written is known": () => {
        bytes.set(copy.subarray(dirty[0], liveFrom), dirty[0]);
        bytes.set(copy.subarray(dirty[1], liveTo), dirty[1]);
      },
    },
    before,
    Math.max(20, Math.round(6_000 / pages)),
  );
  return [...found].map(([what, us]) => ({ what: `${(pages / 16).toFixed(1).padStart(5)} MiB, ${what}`, us }));
}

/** What it costs guests to note each store: four bytes each, all over a page, as it is and with a bit set for its part of the memory. */
function benchMarks(): Row[] {
  const mark =
    "local.get 0 i32.const 14 i32.shr_u i64.extend_i32_u local.set 1 global.get 0 i64.const 1 local.get 1 i64.shl i64.or global.set 0";
  const build = (marks: string): (() => void) => {
    const module = new ModuleAssembler().memory(17);
    module.global("i64", "i64.const 0");
    const locals: Type[] = ["i32", "i64"];
    const body = `loop local.get 0 local.get 0 i32.store ${marks} local.get 0 i32.const 4 i32.add local.tee 0 i32.const ${PAGE} i32.lt_u br_if 0 end`;
    module.func({ name: "run", locals, body });
    return new WebAssembly.Instance(new WebAssembly.Module(module.build()), {}).exports.run as () => void;
  };
  const found = measure({ "16,384 stores": build(""), "the same, noted": build(mark) }, () => {}, 2_000);
  return [...found].map(([what, us]) => ({ what, us }));
}

/** A filter with such a memory that writes 64 KiB in each request. */
function buildGuest({ pages, live }: (typeof MEMORIES)[number]): Uint8Array<ArrayBuffer> {
  const module = new ModuleAssembler().memory(pages, undefined, "memory");
  const i32s = (count: number): Type[] => new Array<Type>(count).fill("i32");
  const at = (pages - live - 1) * PAGE;
  const fill = (from: number, size: number, value: number): string =>
    `i32.const ${from} i32.const ${value} i32.const ${size} memory.fill 0`;
  module.func({ name: "_initialize", body: fill(at, live * PAGE, 1) });
  const body = `${fill(at - 24_576, 24_576, 7)} ${fill(at + PAGE, 40_960, 9)} i32.const 0`;
  module.func({ name: "proxy_on_request_headers", params: i32s(3), results: ["i32"], body });
  module.func({ name: "proxy_on_memory_allocate", params: ["i32"], results: ["i32"], body: "i32.const 1024" });
  module.func({ name: "proxy_abi_version_0_2_1", body: "" });
  return module.build();
}

const noMetrics: FilterMetrics = {
  ...{ define: () => 1, record() {}, increment() {}, read: () => 0, onTrap() {} },
  statsOf: () => new FilterStats(),
};
const clock = new SystemClock();
const host = { clock, log: SILENT_LOG, metrics: noMetrics, shared: new SharedState() };
const chains = new ChainPool(new DeadlineQueue(clock));

async function benchExchanges(): Promise<Row[]> {
  const budget = { fuelPerSecond: Number.MAX_SAFE_INTEGER };
  const proxyWasm = new ProxyWasmHost({ ...host, foreign: new ForeignFunctions() });
  const cases: Record<string, (isolated: boolean) => Promise<FilterModule>> = {
    "component in Rust": (isolated) =>
      new ComponentHost(host).load(readGuest("component-typical"), filterConfig({ abi: "component", isolated, budget })),
    "plug-in in Rust": (isolated) =>
      new ExtismHost(host).load(readGuest("extism-actor"), filterConfig({ abi: "extism", isolated, budget })),
  };
  for (const memory of MEMORIES)
    cases[`proxy-wasm, ${(memory.pages / 16).toFixed(1)} MiB`] = (isolated) =>
      proxyWasm.load(buildGuest(memory), filterConfig({ isolated, budget }));
  const rows: Row[] = [];
  for (const [name, load] of Object.entries(cases)) {
    const run = (module: FilterModule) => (): void => {
      const exchange = new TestExchange(chains, [module], {});
      if (exchange.chain.requestHead(true) !== "forward") throw new Error("the filter failed");
      exchange.chain.close();
    };
    const [plain, isolated] = [await load(false), await load(true)];
    const found = measure({ plain: run(plain), isolated: run(isolated) }, () => {}, name.includes("16.0") ? 40 : 400);
    const us = (found.get("isolated") as number) - (found.get("plain") as number);
    rows.push({ what: `an exchange, ${name} (${(isolated.status().memoryBytes / 1024 / 1024).toFixed(1)} MiB)`, us });
  }
  return rows;
}

const rows = [...MEMORIES.flatMap(benchWays), ...benchMarks(), ...(await benchExchanges())];
const runtime = "Bun" in globalThis ? "bun" : "deno";
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify({ runtime, restored: rows })}\n`);
else
  for (const { what, us } of rows)
    process.stdout.write(`${runtime.padEnd(6)}isolated: ${what.padEnd(52)}${us.toFixed(1).padStart(9)} us\n`);
process.exit(0);
