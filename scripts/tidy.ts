/**
 * The house rules as a program: import direction, file and function size, banned calls with the replacement named, dead
 * files. Prints every violation with its place and exits 1 when there is one.
 */

import { dirname, join, normalize, relative } from "node:path";
import { Glob } from "bun";
import { lockProblems } from "./lock.ts";

const ROOT = dirname(import.meta.dir);

/** Folders in order: a file imports from its own folder and from those before it. */
const LAYERS = ["core", "runtime", "config", "filters", "proxy", "control", "cli", "app"];
const FILE_LINES_MAX = 500;
const FUNCTION_LINES_MAX = 70;

interface Ban {
  readonly pattern: RegExp;
  readonly where: (path: string) => boolean;
  readonly instead: string;
}

const inside = (folder: string) => (path: string) => path.startsWith(folder);
const isTest = (path: string) => path.endsWith(".test.ts") || path.startsWith("test/");
const product = (path: string) => path.startsWith("src/") && !isTest(path);
const notIn =
  (...folders: string[]) =>
  (path: string) =>
    product(path) && !folders.some((folder) => path.startsWith(folder));

const BANS: readonly Ban[] = [
  { pattern: /\bDate\.now\(|\bperformance\.now\(|new Date\(\)/, where: notIn("src/core/"), instead: "the injected Clock" },
  { pattern: /\bMath\.random\(/, where: product, instead: "the injected Rng" },
  { pattern: /\bsetTimeout\(|\bsetInterval\(/, where: notIn("src/core/clock.ts"), instead: "Clock.setTimer or a Deadline" },
  { pattern: /\bBun\.|from "bun(:[a-z]+)?"|\bDeno\./, where: notIn("src/runtime/"), instead: "an adapter in src/runtime/" },
  { pattern: /\bnew RegExp\(/, where: inside("src/proxy/"), instead: "the linear-time engine (re2js)" },
  { pattern: /\bconsole\.(log|error|warn|info)\(/, where: notIn("src/cli/", "src/app/"), instead: "the injected Log" },
  {
    pattern: /\bas any\b|: any\b|<any>|@ts-ignore|@ts-expect-error/,
    where: (path) => path.endsWith(".ts"),
    instead: "a real type",
  },
  { pattern: /\b(test|it|describe)\.(skip|only|todo)\b/, where: isTest, instead: "a test that runs" },
];

const problems: string[] = [];
const imported = new Set<string>();
const files: { path: string; text: string; lines: string[] }[] = [];

for (const folder of ["src", "test", "bench", "scripts", "examples"]) {
  for await (const path of new Glob(`${folder}/**/*.ts`).scan({ cwd: ROOT })) {
    if (path.includes("node_modules") || path === "scripts/tidy.ts") continue;
    const text = await Bun.file(join(ROOT, path)).text();
    files.push({ path, text, lines: text.split("\n") });
  }
}

for (const file of files) {
  checkSize(file.path, file.lines);
  checkBans(file.path, file.lines);
  checkImports(file.path, file.text);
}
checkDeadFiles();
for (const problem of lockProblems(await Bun.file(join(ROOT, "package-lock.json")).text()))
  problems.push(`package-lock.json: ${problem}`);

if (problems.length > 0) {
  process.stderr.write(`${problems.join("\n")}\n${problems.length} house rule violations\n`);
  process.exit(1);
}
process.stdout.write(`house rules: ${files.length} files, no violation\n`);

function checkSize(path: string, lines: string[]): void {
  if (lines.length > FILE_LINES_MAX) problems.push(`${path}: ${lines.length} lines, more than ${FILE_LINES_MAX}: split it`);
  if (isTest(path)) return;
  // The formatter indents bodies, so a function ends at the first line that closes at its own indentation.
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] as string;
    const start =
      /^(\s*)(?:export )?(?:default )?(?:async )?(?:function\b|(?:static |private |protected |override |async |get |set |#)*[#\w]+(?:<[^>]*>)?\([^;]*\)(?::[^=;]*)? \{$)/.exec(
        line,
      );
    if (start === null || /^\s*(if|for|while|switch|catch|return|else)\b/.test(line)) continue;
    const indent = start[1] as string;
    let end = i + 1;
    while (end < lines.length && !(lines[end] as string).startsWith(`${indent}}`)) end++;
    if (end - i + 1 > FUNCTION_LINES_MAX)
      problems.push(`${path}:${i + 1}: function of ${end - i + 1} lines, more than ${FUNCTION_LINES_MAX}`);
  }
}

function checkBans(path: string, lines: string[]): void {
  for (const ban of BANS) {
    if (!ban.where(path)) continue;
    lines.forEach((line, i) => {
      const code = line
        .replace(/\/\/.*$/, "")
        .replace(/^\s*\*.*$/, "")
        .replace(/^\s*\/\*\*.*$/, "");
      if (ban.pattern.test(code)) problems.push(`${path}:${i + 1}: ${line.trim().slice(0, 80)} — use ${ban.instead}`);
    });
  }
}

function checkImports(path: string, text: string): void {
  const own = layerOf(path);
  for (const match of text.matchAll(/(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+)"|new URL\("(\.{1,2}\/[^"]+\.ts)"/g)) {
    const target = normalize(join(dirname(path), (match[1] ?? match[2]) as string));
    imported.add(target);
    if (own < 0 || isTest(path)) continue;
    const other = layerOf(target);
    if (other > own) problems.push(`${path}: imports ${target}, but ${LAYERS[own]}/ may not import ${LAYERS[other]}/`);
    if (own === LAYERS.indexOf("control") && other === LAYERS.indexOf("proxy"))
      problems.push(`${path}: control/ never imports proxy/ (${target})`);
    if (target.startsWith("test/")) problems.push(`${path}: product code imports a test (${target})`);
  }
}

function layerOf(path: string): number {
  const match = /^src\/([a-z]+)\//.exec(path);
  return match === null ? -1 : LAYERS.indexOf(match[1] as string);
}

function checkDeadFiles(): void {
  // Entry points are started by path (processes, scripts), not imported.
  const entry = /^(src\/app\/(main|binary)\.ts|src\/.*\.d\.ts|test\/|bench\/|scripts\/|examples\/)/;
  for (const { path } of files) {
    if (entry.test(path) || path.endsWith(".test.ts")) continue;
    if (!imported.has(path)) problems.push(`${relative(".", path)}: nothing imports it`);
  }
}
