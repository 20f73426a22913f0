/** A file that cannot grow (RLIMIT_FSIZE, as a full disk): what the counters say is what is in it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { newFolder, startProgram } from "../kit/selvedge.ts";
import { describe, IS_BUN, test } from "../kit/suite.ts";

const VICTIM = fileURLToPath(new URL("../kit/log-victim.ts", import.meta.url));

interface Counts {
  readonly lines: number;
  readonly dropped: number;
}

/** Whole lines of the log; a torn one is none, nor is what was joined to one. */
const wholeLines = (text: string): number => text.split("\n").filter(isLine).length;

function isLine(text: string): boolean {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

describe("an access log on a full disk", () => {
  for (const mode of ["in place", "deferred"]) {
    test(`counts a line as written only when it was, and as dropped when not (${mode})`, async () => {
      const folder = newFolder();
      const path = join(folder.path, "access.log");
      // Without the trap the signal of a file that is too large would end the process.
      const limited = ["-c", `trap "" XFSZ; ulimit -f 8; exec "$@"`, "sh", process.execPath];
      const runtime = IS_BUN ? [] : ["run", "-A", "--no-lock"];
      try {
        const { code, out, error } = await startProgram("/bin/sh", [...limited, ...runtime, VICTIM, path, mode]).finished;
        assert.equal(code, 0, error);
        const [full, after] = out
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as Counts);
        assert.ok(full !== undefined && after !== undefined);
        assert.equal(full.lines + full.dropped, 100);
        assert.ok(full.lines > 10 && full.dropped > 10, JSON.stringify(full));
        // There is room again: all are written, and none is joined to what was torn.
        assert.deepEqual(after, { lines: 10, dropped: 0 });
        assert.equal(wholeLines(readFileSync(path, "utf8")), 1 + 10);
      } finally {
        folder.remove();
      }
    });
  }
});
