import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { jsonSchema } from "../config/schema/index.ts";

const MAIN = fileURLToPath(new URL("main.ts", import.meta.url));

/** What `reader` printed at the end of a pipe from `selvedge schema`, and the exit code of selvedge. */
function pipeSchema(reader: string): { readonly read: string; readonly exit: string } {
  const script = `{ "$0" "$1" schema; echo "exit $?" >&2; } | ${reader}`;
  const { stdout, stderr } = spawnSync("sh", ["-c", script, process.execPath, MAIN], { encoding: "utf8", timeout: 30_000 });
  return { read: stdout, exit: stderr.trim() };
}

test("a slow reader of a pipe gets the whole output, more than a pipe holds", () => {
  const whole = `${JSON.stringify(jsonSchema(undefined), null, 2)}\n`;
  expect(whole.length).toBeGreaterThan(65_536);
  const { read, exit } = pipeSchema("(sleep 1; cat)");
  expect(read).toBe(whole);
  expect(exit).toBe("exit 0");
});

test("a reader that stops early is no error", () => {
  const { read, exit } = pipeSchema("head -1");
  expect(read).toBe("{\n");
  expect(exit).toBe("exit 0");
});
