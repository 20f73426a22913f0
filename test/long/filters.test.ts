/** Every language that `filter new` offers and every example: built by its real toolchain, tested by its table. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { EXIT } from "../../src/cli/command.ts";
import { LANGUAGES } from "../../src/cli/filter/manifest.ts";
import { inFolder, type Ran, runInFolder } from "../kit/command-line.ts";

/** Cargo and Go fetch and compile everything the first time. */
setDefaultTimeout(15 * 60_000);

const EXAMPLES = join(import.meta.dir, "../../examples/filters");
const environment = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
);
const filter = (cwd: string, ...argv: string[]): Promise<Ran> => runInFolder(cwd, ["filter", ...argv], environment);

/** A toolchain that is missing is a failure here: scripts/long.mjs obtains them all. */
async function buildAndTest(folder: string, name: string): Promise<void> {
  const built = await filter(folder, "build", name);
  expect([built.exit, built.error]).toEqual([EXIT.ok, ""]);
  const tested = await filter(folder, "test", name);
  expect(tested.error).toBe("");
  if (tested.exit !== EXIT.ok) throw new Error(tested.out);
  expect(tested.out).toMatch(/^\d+ passed\n$/m);
  const measured = await filter(folder, "bench", name, "--duration", "200", "--json");
  const { tests } = JSON.parse(measured.out) as { tests: { name: string; traps: number; lastError?: string }[] };
  // Thousands of exchanges in one instance: memory that is never given back, or a collector that breaks, shows here.
  expect(tests.filter(({ traps }) => traps > 0)).toEqual([]);
}

describe("filter new", () => {
  test.each([...LANGUAGES])("%s", async (language) => {
    await inFolder({}, async (folder) => {
      expect((await filter(folder, "new", "my-filter", "--language", language)).exit).toBe(EXIT.ok);
      await buildAndTest(folder, "my-filter");
    });
  });
});

describe("examples/filters", () => {
  const names = readdirSync(EXAMPLES, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  test("there is one for each language", () => {
    expect(names).toHaveLength(LANGUAGES.length);
  });
  test.each(names)("%s", async (name) => {
    await inFolder({}, async (folder) => {
      const skipped = new Set(["target", "dist", "node_modules", ".zig-cache"]);
      cpSync(join(EXAMPLES, name), join(folder, name), {
        recursive: true,
        filter: (path) => !skipped.has(path.split("/").at(-1) ?? ""),
      });
      await buildAndTest(folder, name);
      const gateway = await runInFolder(folder, ["validate", "-f", join(folder, name, "gateway.yaml")], environment);
      expect([gateway.exit, gateway.error]).toEqual([EXIT.ok, ""]);
    });
  });
});
