/**
 * What metering costs: rewriting (ms), running (percent, for work of the kind that filters do), a call of a guest (ns).
 *
 *   bun bench/meter.ts [--json]        deno run -A bench/meter.ts [--json]
 *
 * Guests: AssemblyScript (always), Rust, Go and C when `rustc` (with wasm32-unknown-unknown), `go` and Zig (`ZIG`) are there, QuickJS when
 * `SELVEDGE_QUICKJS` names a folder with the npm packages `quickjs-emscripten-core` and `@jitl/quickjs-wasmfile-release-sync`.
 * Modules that are only rewritten: the built-in filters, and files named in `SELVEDGE_METER_MODULES` (separated by `:`). What
 * is absent is said. Original and metered take turns, in CPU time of their thread; the quickest round of each counts: others may
 * share the machine. On Bun set `BUN_JSC_maxNumWasmFastMemories=64`, or only the first
 * eight memories are fast and the comparison is of memories, not of metering.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SystemClock } from "../src/core/clock.ts";
import { FUEL_EXPORT, type MeterSwap, meterModule, START_EXPORT } from "../src/filters/meter/index.ts";
import { threadClock } from "./thread-clock.ts";

const ROUNDS = 150;
const SLICE_MS = 1;
/** A kernel is warm, compiled by the engine's last compiler, when it has not become quicker for so long; or after the most. */
const WARM_MS = 700;
const WARM_MOST_MS = 4_000;
const CALLS = 200_000;
const OPTIONS = { fuel: 2 ** 31 - 1, memoryBytes: 2 ** 31, tableElements: 1_000_000 };
const GUESTS = fileURLToPath(new URL("./meter-guests/", import.meta.url));
const RUNTIME = "Bun" in globalThis ? "bun" : "deno";

type Wasm = Uint8Array<ArrayBuffer>;
/** Runs a kernel for that many rounds, and sets the fuel. */
interface Guest {
  readonly kernels: ReadonlyMap<string, (rounds: number) => unknown>;
  refill(): void;
}
interface Subject {
  readonly name: string;
  readonly wasm: Wasm;
  /** Undefined: only rewritten. */
  readonly start?: (wasm: Wasm) => Promise<Guest>;
}

const clock = new SystemClock();
const threadMs = await threadClock();
const absent: string[] = [];
/** Where it stands, on standard error: all of it takes minutes. */
const tell = (what: string): void => void process.stderr.write(`  ${RUNTIME}: ${what}\n`);
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const readWasm = (path: string): Wasm => new Uint8Array(readFileSync(path));

/** WASI's "bad file descriptor": there are no folders to look at. */
const NO_FOLDER = 8;

/** These guests need nothing of their host but a clock that goes; every other import answers 0. */
async function startPlain(wasm: Wasm): Promise<Guest> {
  const host: { memory?: WebAssembly.Memory } = {};
  const answer = (name: string, args: readonly (number | bigint)[]): number => {
    if (name === "fd_prestat_get") return NO_FOLDER;
    if (name === "clock_time_get" && host.memory !== undefined)
      new DataView(host.memory.buffer).setBigUint64(Number(args[2]), BigInt(Math.ceil(clock.nowMs() * 1e6)), true);
    return 0;
  };
  const module = await WebAssembly.compile(wasm);
  const imports: Record<string, Record<string, (...args: (number | bigint)[]) => number>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = (...args) => answer(name, args);
  }
  const { exports } = await WebAssembly.instantiate(module, imports);
  host.memory = exports.memory as WebAssembly.Memory;
  (exports[START_EXPORT] as (() => void) | undefined)?.();
  (exports._initialize as (() => void) | undefined)?.();
  const kernels = new Map<string, (rounds: number) => unknown>();
  for (const [name, value] of Object.entries(exports)) {
    if (typeof value === "function" && !/^(_|malloc|free|abort|selvedge:)/.test(name))
      kernels.set(name, value as (rounds: number) => unknown);
  }
  const swap = exports[FUEL_EXPORT] as MeterSwap | undefined;
  return { kernels, refill: () => void swap?.(OPTIONS.fuel) };
}

function build(
  name: string,
  out: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = GUESTS,
): Subject[] {
  const [program, ...args] = command as [string, ...string[]];
  const done = spawnSync(program, args, { encoding: "utf8", cwd, env: { ...process.env, ...env } });
  if (done.status === 0) return [{ name, wasm: readWasm(out), start: startPlain }];
  absent.push(`${name}: ${(done.error?.message ?? done.stderr).split("\n")[0]}`);
  return [];
}

async function buildAssemblyScript(): Promise<Subject[]> {
  const { default: asc } = await import("assemblyscript/asc");
  const { binary, stderr } = await asc.compileString(readFileSync(join(GUESTS, "guest.assemblyscript"), "utf8"), {
    optimizeLevel: 3,
    runtime: "minimal",
  });
  if (binary !== null) return [{ name: "AssemblyScript", wasm: new Uint8Array(binary), start: startPlain }];
  absent.push(`AssemblyScript: ${stderr.toString()}`);
  return [];
}

function buildGo(folder: string): Subject[] {
  const source = join(folder, "go");
  mkdirSync(source);
  writeFileSync(join(source, "main.go"), readFileSync(join(GUESTS, "guest.go")));
  writeFileSync(join(source, "go.mod"), "module guest\n\ngo 1.24\n");
  const out = join(folder, "go.wasm");
  return build("Go", out, ["go", "build", "-buildmode=c-shared", "-o", out, "."], { GOOS: "wasip1", GOARCH: "wasm" }, source);
}

type Instantiate = (imports: WebAssembly.Imports, onDone: (instance: WebAssembly.Instance) => void) => WebAssembly.Exports;
interface QuickJs {
  newVariant(base: unknown, options: { emscriptenModule: { instantiateWasm: Instantiate } }): unknown;
  newQuickJSWASMModuleFromVariant(variant: unknown): Promise<{
    newContext(): { evalCode(code: string): { value: { dispose(): void } } };
  }>;
}

const SCRIPTS: Readonly<Record<string, string>> = {
  json: 'for (let i = 0; i < 50; i++) JSON.stringify(JSON.parse(\'{"a":[1,2,3],"b":{"c":"text"}}\'))',
  strings: "let s = ''; for (let i = 0; i < 300; i++) s = (s + 'abc').slice(-50).toUpperCase(); s.length",
  objects: "const o = {}; for (let i = 0; i < 300; i++) o['k' + i % 40] = (o['k' + i % 40] ?? 0) + i; Object.keys(o).length",
  regexp: "let n = 0; for (let i = 0; i < 60; i++) n += 'a=1; b=22; c=333'.match(/(\\w)=(\\d+)/g).length; n",
};

async function findQuickJs(): Promise<Subject[]> {
  const folder = process.env.SELVEDGE_QUICKJS;
  if (folder === undefined) {
    absent.push("QuickJS: SELVEDGE_QUICKJS is not set");
    return [];
  }
  const packages = join(folder, "node_modules");
  const core = (await import(pathToFileURL(join(packages, "quickjs-emscripten-core/dist/index.mjs")).href)) as QuickJs;
  const files = join(packages, "@jitl/quickjs-wasmfile-release-sync/dist");
  const base = ((await import(pathToFileURL(join(files, "index.mjs")).href)) as { default: unknown }).default;
  const start = async (wasm: Wasm): Promise<Guest> => {
    const module = await WebAssembly.compile(wasm);
    const kept: { fuel?: MeterSwap } = {};
    const instantiateWasm: Instantiate = (imports, onDone) => {
      const instance = new WebAssembly.Instance(module, imports);
      kept.fuel = instance.exports[FUEL_EXPORT] as MeterSwap;
      onDone(instance);
      return instance.exports;
    };
    const variant = core.newVariant(base, { emscriptenModule: { instantiateWasm } });
    const context = (await core.newQuickJSWASMModuleFromVariant(variant)).newContext();
    const run = (script: string) => (rounds: number) => {
      for (let i = 0; i < rounds; i++) context.evalCode(`{${script}}`).value.dispose();
    };
    return {
      kernels: new Map(Object.entries(SCRIPTS).map(([name, script]) => [name, run(script)])),
      refill: () => void kept.fuel?.(OPTIONS.fuel),
    };
  };
  return [{ name: "QuickJS", wasm: readWasm(join(files, "emscripten-module.wasm")), start }];
}

function findOthers(): Subject[] {
  const filters = fileURLToPath(new URL("../dist/filters/", import.meta.url));
  const builtins = existsSync(filters) ? readdirSync(filters).filter((name) => name.endsWith(".wasm")) : [];
  if (builtins.length === 0) absent.push("the built-in filters: run npm run build");
  const others = (process.env.SELVEDGE_METER_MODULES ?? "").split(":").filter((path) => path !== "");
  return [...builtins.sort().map((name) => join(filters, name)), ...others].map((path) => ({
    name: path.slice(path.lastIndexOf("/") + 1),
    wasm: readWasm(path),
  }));
}

function time(run: () => unknown): number {
  const startMs = threadMs();
  run();
  return threadMs() - startMs;
}

interface RewriteRow {
  readonly module: string;
  readonly bytes: number;
  readonly grownPercent: number;
  readonly coldMs: number;
  readonly warmMs: number;
  readonly validateMs: number;
}

function measureRewrite({ name, wasm }: Subject): RewriteRow {
  const coldMs = time(() => meterModule(wasm, OPTIONS));
  const warm = Array.from({ length: wasm.length > 10_000_000 ? 5 : 20 }, () => time(() => meterModule(wasm, OPTIONS)));
  return {
    module: name,
    bytes: wasm.length,
    grownPercent: (meterModule(wasm, OPTIONS).bytes.length / wasm.length - 1) * 100,
    coldMs,
    warmMs: median(warm),
    validateMs: median(Array.from({ length: 3 }, () => time(() => WebAssembly.validate(wasm)))),
  };
}

async function warm(run: (rounds: number) => unknown, guest: Guest): Promise<void> {
  const startMs = clock.nowMs();
  let bestMs = Number.POSITIVE_INFINITY;
  let improvedMs = startMs;
  for (;;) {
    guest.refill();
    const ms = time(() => run(16));
    const nowMs = clock.nowMs();
    if (ms < bestMs * 0.9) improvedMs = nowMs;
    bestMs = Math.min(bestMs, ms);
    if (nowMs - improvedMs > WARM_MS || nowMs - startMs > WARM_MOST_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

interface RunRow {
  readonly module: string;
  readonly kernel: string;
  readonly originalUs: number;
  readonly addedPercent: number;
}

async function measureRuns({ name, wasm, start }: Subject): Promise<RunRow[]> {
  if (start === undefined) return [];
  const pair = [await start(wasm), await start(meterModule(wasm, OPTIONS).bytes)] as const;
  const rows: RunRow[] = [];
  for (const kernel of pair[0].kernels.keys()) {
    if (kernel === "empty") continue;
    tell(`${name}, ${kernel}`);
    const [original, metered] = pair.map((guest) => guest.kernels.get(kernel) as (rounds: number) => unknown) as [
      (rounds: number) => unknown,
      (rounds: number) => unknown,
    ];
    for (const run of [original, metered]) await warm(run, pair[1]);
    let rounds = 1;
    while (time(() => original(rounds)) < SLICE_MS) rounds *= 2;
    const times: [number[], number[]] = [[], []];
    for (let round = 0; round < ROUNDS; round++) {
      pair[1].refill();
      times[0].push(time(() => original(rounds)));
      times[1].push(time(() => metered(rounds)));
    }
    const [before, after] = times.map((each) => Math.min(...each)) as [number, number];
    rows.push({ module: name, kernel, originalUs: (before * 1000) / rounds, addedPercent: (after / before - 1) * 100 });
  }
  return rows;
}

interface CallRow {
  readonly module: string;
  readonly originalNs: number;
  readonly meteredNs: number;
  /** With the fuel set before each call. */
  readonly setNs: number;
}

async function measureCalls({ name, wasm, start }: Subject): Promise<CallRow[]> {
  if (start !== startPlain) return [];
  const [before, after] = [await start(wasm), await start(meterModule(wasm, OPTIONS).bytes)];
  const nanos = (guest: Guest, sets: boolean): number => {
    const empty = guest.kernels.get("empty") as (rounds: number) => unknown;
    const ms = time(() => {
      for (let i = 0; i < CALLS; i++) {
        if (sets) guest.refill();
        empty(i);
      }
    });
    return (ms * 1e6) / CALLS;
  };
  const times = Array.from({ length: 9 }, () => [nanos(before, false), nanos(after, false), nanos(after, true)] as const);
  const of = (column: 0 | 1 | 2): number => Math.min(...times.map((row) => row[column]));
  return [{ module: name, originalNs: of(0), meteredNs: of(1), setNs: of(2) }];
}

const folder = mkdtempSync(join(tmpdir(), "selvedge-meter-"));
const subjects: Subject[] = [];
try {
  const rust = join(folder, "rust.wasm");
  const c = join(folder, "c.wasm");
  const options = ["--target", "wasm32-unknown-unknown", "-C", "opt-level=3", "-C", "strip=debuginfo", "--crate-type", "cdylib"];
  subjects.push(
    ...(await buildAssemblyScript()),
    ...build("Rust", rust, ["rustc", ...options, "--edition", "2021", "-o", rust, "guest.rs"]),
    ...buildGo(folder),
    ...build("C", c, [
      process.env.ZIG ?? "zig",
      "cc",
      "-target",
      "wasm32-wasi",
      "-mexec-model=reactor",
      "-O2",
      "-s",
      "-o",
      c,
      "guest.c",
    ]),
    ...(await findQuickJs().catch((error: unknown) => {
      absent.push(`QuickJS: ${String(error).split("\n")[0]}`);
      return [];
    })),
    ...findOthers(),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}
const rewrites = subjects.map(measureRewrite);
const runs: RunRow[] = [];
const calls: CallRow[] = [];
for (const subject of subjects) {
  runs.push(...(await measureRuns(subject)));
  calls.push(...(await measureCalls(subject)));
}
const medianPercent = median(runs.map((row) => row.addedPercent));
if (process.argv.includes("--json")) {
  process.stdout.write(`${JSON.stringify({ runtime: RUNTIME, rewrites, runs, calls, medianPercent, absent })}\n`);
} else {
  const say = (...cells: (string | number)[]): void => {
    const text = cells.map((cell, i) =>
      (typeof cell === "number" ? cell.toFixed(1) : cell)[i < 2 ? "padEnd" : "padStart"](i < 2 ? 18 : 12),
    );
    process.stdout.write(`${text.join("")}\n`);
  };
  say(RUNTIME, "bytes", "grown %", "cold ms", "warm ms", "validate ms");
  for (const row of rewrites) say(row.module, String(row.bytes), row.grownPercent, row.coldMs, row.warmMs, row.validateMs);
  say("");
  say("module", "kernel", "original us", "added %");
  for (const row of runs) say(row.module, row.kernel, row.originalUs, row.addedPercent);
  say("", "median", "", medianPercent);
  say("");
  say("a call, ns", "original", "metered", "fuel set");
  for (const row of calls) say(row.module, row.originalNs.toFixed(1), row.meteredNs, row.setNs);
  for (const line of absent) say(`absent: ${line}`);
}
process.exit(0);
