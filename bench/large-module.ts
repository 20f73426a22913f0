/**
 * How long loading a module of 25 MB keeps its thread from everything else: `bun bench/large-module.ts [MB]`, also on Deno. The
 * longest time between two turns of a timer that fires every 2 ms.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { DEFAULT_FILTER_BUDGET } from "../src/core/limits.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { ModuleCompiler } from "../src/filters/guest/compiler.ts";
import { enlargeModule } from "../test/kit/large-module.ts";

const TICK_MS = 2;
const megabytes = Number(process.argv[2] ?? 25);
const small = new Uint8Array(readFileSync(new URL("../dist/filters/transform.wasm", import.meta.url)));
const wasm = enlargeModule(small, megabytes * 1e6);
const clock = new SystemClock();
const log = SILENT_LOG;

async function measure(name: string, work: () => Promise<unknown>): Promise<void> {
  let longestMs = 0;
  let lastMs = clock.nowMs();
  const timer = setInterval(() => {
    const nowMs = clock.nowMs();
    longestMs = Math.max(longestMs, nowMs - lastMs - TICK_MS);
    lastMs = nowMs;
  }, TICK_MS);
  await new Promise((resolve) => setTimeout(resolve, 50));
  longestMs = 0;
  const startMs = clock.nowMs();
  await work();
  const tookMs = clock.nowMs() - startMs;
  await new Promise((resolve) => setTimeout(resolve, 10));
  clearInterval(timer);
  process.stdout.write(
    `${name.padEnd(34)} ${tookMs.toFixed(0).padStart(6)} ms, longest stall ${longestMs.toFixed(0).padStart(5)} ms\n`,
  );
}

const folder = join(mkdtempSync(join(tmpdir(), "selvedge-bench-")), "modules");
try {
  process.stdout.write(`${(wasm.byteLength / 1e6).toFixed(1)} MB\n`);
  await measure("nothing, for comparison", () => new Promise((resolve) => setTimeout(resolve, 1_000)));
  const compile = (options: { inlineBytes?: number; folder?: string }): Promise<unknown> =>
    new ModuleCompiler({ clock, log, ...options }).compile(wasm, DEFAULT_FILTER_BUDGET);
  await measure("where it is loaded", () => compile({ inlineBytes: Number.POSITIVE_INFINITY }));
  await measure("by a thread", () => compile({}));
  await measure("by a thread, and kept on disk", () => compile({ folder }));
  // It may still be on its way to the disk.
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  await measure("by a thread, from disk", () => compile({ folder }));
} finally {
  rmSync(join(folder, ".."), { recursive: true, force: true });
}
process.exit(0);
