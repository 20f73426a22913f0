import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock } from "../../src/core/clock.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { RateLimitTable, tableBytes } from "../../src/filters/rate-limit/table.ts";
import { TEST_MS } from "../kit/patience.ts";

const WORKERS = 4;
const folders: string[] = [];
const children: ReturnType<typeof Bun.spawn>[] = [];

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function start(slots: number, keys: number, mode: string) {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-rate-limit-"));
  folders.push(folder);
  const path = join(folder, "table");
  writeFileSync(path, new Uint8Array(tableBytes(slots) + (16 + WORKERS * keys) * 4));
  const bytes = Bun.mmap(path, { shared: true });
  const words = new BigInt64Array(bytes.buffer, bytes.byteOffset, tableBytes(slots) / 8);
  const counts = new Int32Array(bytes.buffer, bytes.byteOffset + tableBytes(slots));
  const worker = join(import.meta.dir, "rate-limit-worker.ts");
  const run = Array.from({ length: WORKERS }, (_, id) => {
    const child = Bun.spawn([process.execPath, worker, path, String(id), String(slots), String(keys), mode], {
      stderr: "inherit",
    });
    children.push(child);
    return child;
  });
  const until = async (done: () => boolean): Promise<void> => {
    while (!done()) await Bun.sleep(1);
  };
  const allowedOf = (key: number): number => {
    let sum = 0;
    for (let id = 0; id < WORKERS; id++) sum += counts[16 + id * keys + key] as number;
    return sum;
  };
  return { words, counts, run, until, allowedOf };
}

test(
  "four processes, skewed keys, one killed in the middle: exactly the limit per key",
  async () => {
    const keys = 32;
    const { counts, run, until, allowedOf } = start(4096, keys, "skewed");
    await until(() => Atomics.load(counts, 6) === WORKERS);
    Atomics.store(counts, 0, 1);
    const done = (id: number) => Atomics.load(counts, 8 + id);
    await until(() => done(2) > 200);
    run[2]?.kill("SIGKILL");
    await run[2]?.exited;
    await until(() => [0, 1, 3].every((id) => done(id) > 20_000));
    Atomics.store(counts, 0, 2);
    await Promise.all(run.map((child) => child.exited));
    // What the killed one was deciding about when it died: allowed or not, it could not say.
    const inDoubt = (counts[1 + 2] as number) - 1;
    for (let key = 0; key < keys; key++) {
      const allowed = allowedOf(key);
      if (key === inDoubt) expect([49, 50]).toContain(allowed);
      else expect({ key, allowed }).toEqual({ key, allowed: 50 });
    }
  },
  TEST_MS,
);

test(
  "four processes want the same new keys at once, on slots that must be taken over: each key once",
  async () => {
    const keys = 4000;
    const slots = 8192;
    const { words, counts, run, until, allowedOf } = start(slots, keys, "same");
    const clock = new SystemClock();
    const table = new RateLimitTable(words, { clock });
    const rng = new SeededRng(5);
    // Other keys pass through every slot and go idle: none is unused when the race begins.
    const hash = new Uint32Array(4);
    for (let i = 0; i < slots * 3; i++) {
      for (let word = 0; word < 4; word++) hash[word] = rng.below(2 ** 32);
      table.decide([{ hash, increment: 1e6, capacity: 1e7, shadow: false, outcome: 0, level: 0 }], 1);
    }
    await until(() => Atomics.load(counts, 6) === WORKERS);
    await until(() => table.countUsed() === 0);
    Atomics.store(counts, 0, 1);
    await Promise.all(run.map((child) => child.exited));
    const wrong = Array.from({ length: keys }, (_, key) => allowedOf(key)).filter((allowed) => allowed !== 1).length;
    expect(wrong).toBe(0);
  },
  TEST_MS,
);
