/**
 * The WebAssembly specification's test suite, before and after metering: every assertion must have the same outcome, no invalid
 * module may become valid. Runs on Bun and on Deno:
 *
 *   SELVEDGE_WASM_TESTSUITE=folder bun test/conformance/wasm-testsuite.ts [part of a path …] [--split=N] [--keeps] [--verbose]
 *
 * The folder has the suite's `.wast` files (also found as `wasm-testsuite` in `SELVEDGE_DATA`). They are converted by
 * `wasm-tools json-from-wast` (`SELVEDGE_WASM_TOOLS`, or on PATH; `cargo install wasm-tools`), else by wabt's `wast2json`
 * (`SELVEDGE_WAST2JSON`, or on PATH); what neither can read is listed. Exit status 1: something differs; 2: nothing ran, the suite
 * or what converts it is absent.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { dataFolder } from "../kit/data.ts";
import { type Command, SpecRun } from "./wasm-testsuite-run.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);
/** Exit status. */
const ABSENT = 2;
const FEATURES = ["exceptions", "tail-call", "extended-const", "relaxed-simd", "function-references", "multi-memory", "threads"];

const folder = process.env.SELVEDGE_WASM_TESTSUITE ?? dataFolder("wasm-testsuite");
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const split = Number(process.argv.find((word) => word.startsWith("--split="))?.slice(8) ?? 32);
/** Metered as for isolated filters. */
const keeps = process.argv.includes("--keeps");
const isVerbose = process.argv.includes("--verbose");

/** Ways to convert, the one that reads most first. */
interface Converter {
  readonly name: string;
  readonly command: readonly string[];
}

function findConverters(): Converter[] {
  const tools = process.env.SELVEDGE_WASM_TOOLS ?? "wasm-tools";
  const wabt = process.env.SELVEDGE_WAST2JSON ?? "wast2json";
  const found: Converter[] = [];
  if (spawnSync(tools, ["--version"]).error === undefined) found.push({ name: "wasm-tools", command: [tools, "json-from-wast"] });
  const help = spawnSync(wabt, ["--help"], { encoding: "utf8" });
  if (help.error === undefined) {
    const flags = FEATURES.filter((name) => help.stdout.includes(`--enable-${name}`)).map((name) => `--enable-${name}`);
    found.push({ name: "wast2json", command: [wabt, ...flags] }, { name: "wast2json, plain", command: [wabt] });
  }
  return found;
}

function convert(
  wast: string,
  out: string,
  converters: readonly Converter[],
): { json: string; by: string } | { problem: string } {
  const json = join(out, "test.json");
  let problem = "";
  for (const { name, command } of converters) {
    rmSync(out, { recursive: true, force: true });
    mkdirSync(out, { recursive: true });
    const [program, ...args] = command as [string, ...string[]];
    // One of them writes beside the JSON, the other where it stands.
    const done = spawnSync(program, [...args, wast, "-o", json], { encoding: "utf8", cwd: out });
    if (done.status === 0) return { json, by: name };
    if (problem === "") problem = done.stderr.split("\n", 3).join(" ").replaceAll(wast, "").slice(0, 120);
  }
  return { problem };
}

function main(): number {
  if (folder === undefined) {
    say("the WebAssembly test suite is ABSENT: set SELVEDGE_WASM_TESTSUITE; nothing was compared");
    return ABSENT;
  }
  const converters = findConverters();
  if (converters.length === 0) {
    say("wasm-tools and wast2json are ABSENT: set SELVEDGE_WASM_TOOLS or SELVEDGE_WAST2JSON; nothing was compared");
    return ABSENT;
  }
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".wast") && (words.length === 0 || words.some((word) => path.includes(word))))
    .sort();
  const temporary = mkdtempSync(join(tmpdir(), "selvedge-spec-"));
  const run = new SpecRun(split, keeps, isVerbose ? say : () => {});
  const unread: string[] = [];
  const read = new Map<string, number>();
  try {
    files.forEach((file, i) => {
      const out = join(temporary, String(i));
      const converted = convert(join(folder, file), out, converters);
      if ("problem" in converted) {
        unread.push(`${file}: ${converted.problem}`);
        return;
      }
      read.set(converted.by, (read.get(converted.by) ?? 0) + 1);
      const { commands } = JSON.parse(readFileSync(converted.json, "utf8")) as { commands: Command[] };
      run.runFile(relative(folder, join(folder, file)), commands, (name) => new Uint8Array(readFileSync(join(out, name))));
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  for (const [name, count] of read) say(`${count} files converted by ${name}`);
  say(`${unread.length} of ${files.length} files that neither can read:`);
  for (const line of unread) say(`  ${line}`);
  return run.report(say) && run.compared > 0 ? 0 : 1;
}

process.exit(main());
