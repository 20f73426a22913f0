/** Every language that `filter new` offers and every example: built by its real toolchain, tested by its table. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { EXIT } from "../../src/cli/command.ts";
import { abisOf, LANGUAGES } from "../../src/cli/filter/languages.ts";
import { inFolder, type Ran, runInFolder } from "../kit/command-line.ts";

/** Cargo and Go fetch and compile everything the first time. */
setDefaultTimeout(15 * 60_000);

const EXAMPLES = join(import.meta.dir, "../../examples/filters");
const environment = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
);
const filter = (cwd: string, ...argv: string[]): Promise<Ran> => runInFolder(cwd, ["filter", ...argv], environment);

/** Languages whose toolchain scripts/long.mjs could not obtain and has named; with `CI` set there are none, and their tests fail. */
const MISSING = new Set((process.env.SELVEDGE_MISSING_LANGUAGES ?? "").split(","));

async function buildAndTest(folder: string, name: string): Promise<void> {
  // As its README says.
  if (existsSync(join(folder, name, "sdk/package.json"))) {
    const install = ["install", "--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
    const { status, stderr } = spawnSync("npm", install, { cwd: join(folder, name), encoding: "utf8" });
    expect([status, stderr]).toEqual([0, ""]);
  }
  const built = await filter(folder, "build", name);
  if (built.exit !== EXIT.ok) throw new Error(built.error);
  const module = join(name, "dist", `${name}.wasm`);
  const { memories } = JSON.parse((await filter(folder, "inspect", module, "--json")).out) as { memories: { minimum: number }[] };
  // An instance has it in each worker, and an isolated one puts all of it back after each exchange. Python is some 12 MiB as it is.
  const pages = memories.reduce((sum, { minimum }) => sum + minimum, 0);
  expect(pages).toBeGreaterThan(0);
  expect(pages).toBeLessThan(existsSync(join(folder, name, "src/app.py")) ? 256 : 64);
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
  const all = LANGUAGES.flatMap((language) => abisOf(language).map((abi) => [language, abi] as const));
  const built = all.filter(([language]) => !MISSING.has(language));
  test.each(built)("%s, %s", async (language, abi) => {
    await inFolder({}, async (folder) => {
      expect((await filter(folder, "new", "my-filter", "--language", language, "--abi", abi)).exit).toBe(EXIT.ok);
      await buildAndTest(folder, "my-filter");
    });
  });
});

describe("examples/filters", () => {
  const names = readdirSync(EXAMPLES, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  const languageOf = (name: string): string | undefined =>
    /^language: (.*)$/m.exec(readFileSync(join(EXAMPLES, name, "selvedge-filter.yaml"), "utf8"))?.[1];
  const written = names.filter((name) => languageOf(name) !== undefined);
  test("there is one for each language", () => {
    expect(new Set(written.map(languageOf))).toEqual(new Set(LANGUAGES));
  });
  test.each(written.filter((name) => !MISSING.has(languageOf(name) ?? "")))("%s", async (name) => {
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

/** Modules of others, built from their registries as they are: the same table on both runtimes. */
describe("examples/filters, unmodified", () => {
  const root = join(EXAMPLES, "../..");
  const ran = (command: string, ...args: string[]) => spawnSync(command, args, { cwd: root, encoding: "utf8" });
  test.each(["auth-random", "count-vowels"])("%s", async (name) => {
    await inFolder({}, async (folder) => {
      cpSync(join(EXAMPLES, name), join(folder, name), { recursive: true, filter: (path) => !path.endsWith("/dist") });
      const built = ran("node", "scripts/crate-examples.mjs", "--into", folder, name);
      expect([built.status, built.stderr]).toEqual([0, ""]);
      const tested = await filter(folder, "test", name);
      expect([tested.error, tested.out]).toEqual(["", expect.stringMatching(/^4 passed\n$/m)]);
      const deno = join(root, "node_modules/.bin/deno");
      const onDeno = ran(deno, "run", "-A", "--no-lock", "bin/selvedge.mjs", "filter", "test", join(folder, name));
      expect([onDeno.status, onDeno.stdout]).toEqual([0, expect.stringMatching(/^4 passed\n$/m)]);
      const gateway = await runInFolder(folder, ["validate", "-f", join(folder, name, "gateway.yaml")], environment);
      expect([gateway.exit, gateway.error]).toEqual([EXIT.ok, ""]);
    });
  });
});
