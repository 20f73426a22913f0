// What the documentation says is what the program does.
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { OPERATIONS_PAGE, renderOperations } from "../scripts/operations.ts";
import { GLOBAL_FLAGS } from "../src/cli/command.ts";
import { COMMANDS, loadAllCommands } from "../src/cli/commands.ts";
import { environmentName } from "../src/cli/flags.ts";
import * as limits from "../src/core/limits.ts";
import { newFolder, runSelvedge } from "./kit/selvedge.ts";

const ROOT = join(import.meta.dir, "..");
const PAGES = [
  "README.md",
  "CONTRIBUTING.md",
  ...readdirSync(join(ROOT, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];
/** Written by a measurement (`npm run bench`), not by hand. */
const MEASURED = "docs/benchmarks.md";
const read = (page: string): string => readFileSync(join(ROOT, page), "utf8");

test("the tables of docs/operations.md are what the program uses (scripts/docs.ts writes them)", () => {
  const page = readFileSync(OPERATIONS_PAGE, "utf8");
  expect(page).toBe(renderOperations(page));
  expect(page).toContain("`selvedge_requests_total`");
  expect(page).toContain("`upstream_reset`");
});

test("every limit is in docs/operations.md", () => {
  const page = read("docs/operations.md");
  const missing = Object.entries(limits).flatMap(([block, values]) =>
    typeof values === "object"
      ? Object.keys(values)
          .filter((name) => !page.includes(`| \`${name}\` |`))
          .map((name) => `${block}.${name}`)
      : [],
  );
  expect(missing).toEqual([]);
});

test("every limit in docs/operations.md has a meaning, and what users write for it is in docs/configuration.md", () => {
  const page = read("docs/operations.md");
  const tables = page.slice(page.indexOf("<!-- generated: limits -->"), page.indexOf("<!-- end: limits -->"));
  const rows = tables.split("\n").filter((line) => /^\| (`|fixed)/.test(line));
  expect(rows.length).toBeGreaterThan(200);
  expect(rows.filter((line) => /\|\s*\|$/.test(line))).toEqual([]);
  expect(tables).toMatch(
    /\| `budget\.callbackFuel` \| `callbackFuel` \| 1,000,000 \| Fuel of one callback: [^|]*its exchanges get `onFailure`\. \|/,
  );
  const configuration = read("docs/configuration.md");
  const settings = rows.flatMap((line) => /^\| `([^`]+)` \| `/.exec(line)?.[1] ?? []);
  expect(settings.length).toBeGreaterThan(40);
  expect(settings.filter((name) => !configuration.includes(`\n| \`${name}\` |`))).toEqual([]);
  // What can be set is said to be.
  for (const name of [
    "bodyBytes",
    "tunnelIdleMs",
    "responseIdleMs",
    "bufferBytes",
    "hostCallsPerExchange",
    "contextsPerInstance",
  ])
    expect(tables).not.toContain(`| fixed | \`${name}\``);
});

test("the README's gateway for your own service is valid", async () => {
  const text = /```yaml\n(# gateway\.yaml\n[\s\S]*?)```/.exec(read("README.md"))?.[1] ?? "";
  const folder = newFolder();
  writeFileSync(join(folder.path, "gateway.yaml"), text);
  const { code, out, error } = await runSelvedge(["validate", "-f", join(folder.path, "gateway.yaml")]);
  folder.remove();
  expect([code, out, error]).toEqual([0, "✓ 3 resources are valid\n", ""]);
});

test("every YAML block of the page on porting is valid configuration", async () => {
  const blocks = [...read("docs/filters-porting.md").matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? "");
  expect(blocks.length).toBeGreaterThan(0);
  const folder = newFolder();
  blocks.forEach((text, i) => {
    writeFileSync(join(folder.path, `${i}.yaml`), text);
  });
  for (let i = 0; i < blocks.length; i++) {
    const { code, error } = await runSelvedge(["validate", "-f", join(folder.path, `${i}.yaml`)]);
    expect([code, error]).toEqual([0, ""]);
  }
  folder.remove();
});

/** Suites that the threat model names are there: a test that moved must not leave a claim behind. */
test("every test that the threat model names exists", () => {
  const text = read("docs/filters-threat-model.md");
  const named = [...text.matchAll(/\btest\/[A-Za-z0-9/.-]*[A-Za-z0-9]/g)].map(([name]) => name);
  expect(named.length).toBeGreaterThan(10);
  const missing = named.filter(
    (name) => !["", ".portable.ts", ".test.ts", ".ts"].some((end) => existsSync(join(ROOT, name + end))),
  );
  expect(missing).toEqual([]);
});

describe.each(PAGES)("%s", (page) => {
  test("every command of ours that it shows exists, with its flags", async () => {
    const commands = await loadAllCommands();
    for (const [line, name, rest] of read(page).matchAll(
      /^\s*(?:until |ExecStart=\S*\/)?(?:node bin\/)?selvedge(?:\.mjs)? ([a-z-]+)([^\n|;#]*)/gm,
    )) {
      const command = commands.find((each) => each.name === name || `${name}${rest} `.startsWith(`${each.name} `));
      const known = COMMANDS.some((each) => each.name === name) || name === "help";
      expect([line, known]).toEqual([line, true]);
      for (const [, flag] of (rest ?? "").matchAll(/ --([a-z-]+)/g)) {
        const has = [...(command?.flags ?? []), ...GLOBAL_FLAGS].some((each) => each.name === flag);
        expect([line, flag, has]).toEqual([line, flag, true]);
      }
    }
  });

  test("every variable that it names is one", async () => {
    const flags = (await loadAllCommands()).flatMap((command) => command.flags.map(({ name }) => environmentName(name)));
    const others = [
      "SELVEDGE_CONFIG",
      "SELVEDGE_DEBUG",
      "SELVEDGE_TOOLS_DIR",
      "SELVEDGE_NATS_SERVER",
      "SELVEDGE_OFFLINE",
      "SELVEDGE_RELOADS",
      "SELVEDGE_INBOX",
      "SELVEDGE_LOG",
      "SELVEDGE_ENVOY",
    ];
    const known = new Set([...flags, ...others]);
    const named = [...read(page).matchAll(/\bSELVEDGE_[A-Z_]*[A-Z]\b(?!\*)/g)].map(([name]) => name);
    expect(named.filter((name) => !known.has(name))).toEqual([]);
  });

  test("every link into the repository leads somewhere", () => {
    const links = [...read(page).matchAll(/\]\((?!https?:|#)([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target ?? "");
    const paths = links.map((target) => join(dirname(page), target)).filter((path) => path !== MEASURED);
    expect(paths.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
  });
});
