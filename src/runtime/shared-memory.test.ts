import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSharedMemory } from "./shared-memory.ts";

const ADDS = 100_000;

async function inFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-shm-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("shared memory", () => {
  test("two processes add 100,000 times each, and compare-and-set 10,000 times each: the sums are exact", () =>
    inFolder(async (folder) => {
      const path = join(folder, "words");
      const words = openSharedMemory(path, 64);
      expect(words.shared).toBe(true);
      const program = `
        const { openSharedMemory } = await import(${JSON.stringify(new URL("./shared-memory.ts", import.meta.url).href)});
        const { int32, int64 } = openSharedMemory(process.argv[1], 64);
        Atomics.add(int32, 0, 1);
        while (Atomics.load(int32, 0) < 2);
        for (let i = 0; i < ${ADDS}; i++) { Atomics.add(int32, 1, 1); Atomics.add(int64, 2, 3n); }
        for (let i = 0; i < 10_000; i++) {
          for (;;) {
            const seen = Atomics.load(int64, 3);
            if (Atomics.compareExchange(int64, 3, seen, seen + 1n) === seen) break;
          }
        }`;
      const start = () => Bun.spawn([process.execPath, "-e", program, path], { stdout: "inherit", stderr: "inherit" });
      const both = [start(), start()];
      expect(await Promise.all(both.map((each) => each.exited))).toEqual([0, 0]);
      expect(Atomics.load(words.int32, 1)).toBe(2 * ADDS);
      expect(Atomics.load(words.int64, 2)).toBe(BigInt(2 * ADDS * 3));
      expect(Atomics.load(words.int64, 3)).toBe(20_000n);
    }));

  test("opening again keeps the words, and a smaller size does not cut what others have mapped", () =>
    inFolder((folder) => {
      const path = join(folder, "words");
      const big = openSharedMemory(path, 10_000);
      expect(big.byteLength).toBe(12_288);
      Atomics.store(big.int32, 3_000, 42);
      const small = openSharedMemory(path, 1);
      expect(small.byteLength).toBe(4096);
      expect(statSync(path).size).toBe(12_288);
      expect(statSync(path).mode & 0o077).toBe(0);
      Atomics.store(small.int32, 0, 7);
      expect(Atomics.load(big.int32, 0)).toBe(7);
      expect(Atomics.load(big.int32, 3_000)).toBe(42);
    }));

  test("a folder that does not exist is the system's error", () => {
    expect(() => openSharedMemory("/no/such/folder/words", 64)).toThrow(/ENOENT/);
  });
});
