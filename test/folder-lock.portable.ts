// The lock on a folder: one holder at a time, and free again afterwards.
import { strictEqual as equal, notStrictEqual as notEqual, throws } from "node:assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lockFolder } from "../src/runtime/folder-lock.ts";
import { describe, test } from "./kit/suite.ts";

describe("lockFolder", () => {
  test("one at a time has it, and it is free when it was released, once or twice", () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-lock-"));
    try {
      const first = lockFolder(folder);
      notEqual(first, undefined);
      equal(lockFolder(folder), undefined);
      first?.release();
      first?.release();
      const second = lockFolder(folder);
      notEqual(second, undefined);
      // That the first is released once more frees nothing of the second's.
      first?.release();
      equal(lockFolder(folder), undefined);
      second?.release();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a folder that is not there is an error, and no folder of somebody else's", () => {
    throws(() => lockFolder(join(tmpdir(), "selvedge-no-such-folder", "at-all")));
  });
});
