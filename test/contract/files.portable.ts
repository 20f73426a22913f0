import assert from "node:assert/strict";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SystemClock, VirtualClock } from "../../src/core/clock.ts";
import { readText, watchFile, writeAtomically } from "../../src/runtime/files.ts";
import { describe, test } from "../kit/suite.ts";

async function inFolder(body: (folder: string) => Promise<void> | void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-files-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("files", () => {
  test("writeAtomically replaces, sets the mode, leaves nothing behind; readText cuts a byte order mark off", () =>
    inFolder((folder) => {
      const path = join(folder, "a");
      writeAtomically(path, "first");
      writeAtomically(path, "\ufeffsecond: é");
      assert.equal(readText(path), "second: é");
      assert.equal(statSync(path).mode & 0o777, 0o600);
      writeAtomically(path, new Uint8Array([0x68, 0x69]), 0o644);
      assert.equal(readText(path), "hi");
      assert.equal(statSync(path).mode & 0o777, 0o644);
      assert.deepEqual(readdirSync(folder), ["a"]);
      assert.throws(() => writeAtomically(join(folder, "none", "a"), "x"), /ENOENT|os error 2/);
      // The file that was named, not the temporary one.
      assert.throws(
        () => writeAtomically(join(folder, "none", "a"), "x"),
        (error: Error) => !error.message.includes(".tmp"),
      );
      assert.throws(() => writeAtomically(folder, "x"));
      assert.deepEqual(readdirSync(folder), ["a"]);
    }));

  test("watchFile sees writes, replacement, a swapped link, removal and return", () =>
    inFolder(async (folder) => {
      const path = join(folder, "config.yaml");
      writeFileSync(path, "0");
      let wake: () => void = () => {};
      let seen = 0;
      const watch = watchFile(path, new SystemClock(), () => {
        seen++;
        wake();
      });
      const afterwards = async (change: () => void): Promise<void> => {
        const before = seen;
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        change();
        if (seen === before) await changed;
      };
      // The clock of the product does not keep a process alive, but a test must wait.
      const alive = setInterval(() => {}, 1_000);
      try {
        await afterwards(() => writeFileSync(path, "written in place"));
        await afterwards(() => writeAtomically(path, "replaced"));
        await afterwards(() => unlinkSync(path));
        await afterwards(() => writeFileSync(path, "back"));
        writeFileSync(join(folder, "other"), "linked to");
        await afterwards(() => {
          symlinkSync(join(folder, "other"), join(folder, "..link"));
          renameSync(join(folder, "..link"), path);
        });
        assert.equal(readText(path), "linked to");
        watch.close();
        const last = seen;
        writeFileSync(path, "nobody looks");
        await new Promise<void>((resolve) => setImmediate(resolve));
        assert.equal(seen, last);
      } finally {
        clearInterval(alive);
        watch.close();
      }
    }));

  test("where the system tells nothing, the poll finds it; close leaves no timer", () =>
    inFolder((folder) => {
      const clock = new VirtualClock();
      const path = join(folder, "config.yaml");
      let seen = 0;
      const watch = watchFile(path, clock, () => seen++);
      clock.advance(10_000);
      assert.equal(seen, 0);
      writeFileSync(path, "new");
      clock.advance(2_100);
      assert.equal(seen, 1);
      clock.advance(10_000);
      assert.equal(seen, 1, "once per change");
      watch.close();
      assert.equal(clock.pending, 0);
      assert.ok(existsSync(path));
    }));
});
