/**
 * What metering costs: rewriting (ms), running (percent, for work of the kind that filters do), a call of a guest (ns).
 *
 *   bun bench/meter.ts [--json]        deno run -A bench/meter.ts [--json]
 *
 * Guests: AssemblyScript (always), Rust, Go and C when `rustc` (with wasm32-unknown-unknown), `go` and Zig (`ZIG`) are there, QuickJS when
 * `SELVEDGE_QUICKJS` names a folder with the npm packages `quickjs-emscripten-core` and `@jitl/quickjs-wasmfile-release-sync`.
 * Modules that are only rewritten: the built-in filters, and files named in `SELVEDGE_METER_MODULES` (separated by `:`). What
 * is absent is said. Others may share the machine, and engines do not compile the same code to the same twice. So original and metered
 * take turns, in CPU time of their thread; what counts is the median of the ratios of neighbouring turns, and of that the median over
 * several compilations. Two runs differ by some three points for most kernels, if the engines compile at once what they find hot, and
 * not beside it, on threads that wait for their turn: then a slow compilation is taken for slow code. `scripts/bench.mjs` sees to that
 * (`DENO_V8_FLAGS=--wasm-sync-tier-up`, `BUN_JSC_useConcurrentJIT=0`). On Bun `BUN_JSC_maxNumWasmFastMemories=64` as well, or only the
 * first eight memories are fast and the comparison is of memories, not of metering.
 */
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { meterModule } from "../src/filters/meter/index.ts";
import { absent, FUEL, findSubjects, type Guest, type Subject, startPlain, type Wasm } from "./meter-subjects.ts";
import { threadClock } from "./thread-clock.ts";

/** Each kernel is measured in so many compilations of its module, as so many pairs of turns. */
const COMPILATIONS = 3;
const PAIRS = 40;
/** Of a turn of the original: long enough that what the other one left in the caches does not matter. */
const TURN_MS = 2;
/** A kernel is warm, compiled by the engine's last compiler, when it has not become quicker for so long; or after the most. */
const WARM_MS = 150;
const WARM_MOST_MS = 3_000;
const CALLS = 200_000;
const OPTIONS = { fuel: FUEL, memoryBytes: 2 ** 31, tableElements: 1_000_000 };
const RUNTIME = "Bun" in globalThis ? "bun" : "deno";

const clock = new SystemClock();
const threadMs = await threadClock();
/** Where it stands, on standard error: all of it takes minutes. */
const tell = (what: string): void => void process.stderr.write(`  ${RUNTIME}: ${what}\n`);
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

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
    if (ms < bestMs * 0.95) improvedMs = nowMs;
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

let compilations = 0;
/** The same module with other bytes: engines give the code that they have to bytes that they know. */
function renew(wasm: Wasm): Wasm {
  // A custom section without content, whose name is a number.
  const name = new TextEncoder().encode(String(compilations++));
  return new Uint8Array([...wasm, 0, name.length + 1, name.length, ...name]);
}

interface Turns {
  readonly originalUs: number;
  readonly addedPercent: number;
}

async function takeTurns(name: string, original: Guest, metered: Guest): Promise<Turns> {
  const [before, after] = [original, metered].map((guest) => guest.kernels.get(name) as (rounds: number) => unknown) as [
    (rounds: number) => unknown,
    (rounds: number) => unknown,
  ];
  for (const run of [before, after]) await warm(run, metered);
  let rounds = 1;
  while (time(() => before(rounds)) < TURN_MS) rounds *= 2;
  const turns = Array.from({ length: PAIRS }, () => {
    metered.refill();
    return [time(() => before(rounds)), time(() => after(rounds))] as const;
  });
  return {
    originalUs: (Math.min(...turns.map(([ms]) => ms)) * 1000) / rounds,
    addedPercent: (median(turns.map(([ms, meteredMs]) => meteredMs / ms)) - 1) * 100,
  };
}

async function measureRuns({ name, wasm, start }: Subject): Promise<RunRow[]> {
  if (start === undefined) return [];
  const found = new Map<string, Turns[]>();
  for (let i = 0; i < COMPILATIONS; i++) {
    tell(`${name}, compilation ${i + 1} of ${COMPILATIONS}`);
    const original = await start(renew(wasm));
    const metered = await start(renew(meterModule(wasm, OPTIONS).bytes));
    for (const kernel of original.kernels.keys()) {
      if (kernel === "empty") continue;
      found.set(kernel, [...(found.get(kernel) ?? []), await takeTurns(kernel, original, metered)]);
    }
  }
  return [...found].map(([kernel, turns]) => ({
    module: name,
    kernel,
    originalUs: Math.min(...turns.map((each) => each.originalUs)),
    addedPercent: median(turns.map((each) => each.addedPercent)),
  }));
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

const subjects = await findSubjects();
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
