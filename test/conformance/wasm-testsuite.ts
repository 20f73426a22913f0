/**
 * The WebAssembly specification's test suite, before and after metering: every assertion must have the same outcome, no invalid
 * module may become valid. Runs on Bun and on Deno:
 *
 *   SELVEDGE_WASM_TESTSUITE=folder bun test/conformance/wasm-testsuite.ts [part of a path …] [--split=N] [--verbose]
 *
 * The folder has the suite's `.wast` files (also found as `wasm-testsuite` in `SELVEDGE_DATA`). They are converted by wabt's
 * `wast2json` (`SELVEDGE_WAST2JSON`, or on PATH); what it cannot read is listed. Exit status 1: something differs, or nothing ran.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { dataFolder } from "../kit/data.ts";
import { type Command, SpecRun } from "./wasm-testsuite-run.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const FEATURES = ["exceptions", "tail-call", "extended-const", "relaxed-simd", "function-references", "multi-memory", "threads"];

const folder = process.env.SELVEDGE_WASM_TESTSUITE ?? dataFolder("wasm-testsuite");
const converter = process.env.SELVEDGE_WAST2JSON ?? "wast2json";
const words = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const split = Number(process.argv.find((word) => word.startsWith("--split="))?.slice(8) ?? 32);
const isVerbose = process.argv.includes("--verbose");

function convert(wast: string, out: string, flags: readonly string[]): { json: string } | { problem: string } {
  const json = join(out, "test.json");
  mkdirSync(out, { recursive: true });
  // A second try without multi-memory: with it, some converters write other bytes for plain memories.
  for (const args of [flags, []] as const) {
    const done = spawnSync(converter, [...args, wast, "-o", json], { encoding: "utf8" });
    if (done.status === 0) return { json };
    if (args.length === 0) return { problem: (done.stderr.split("\n")[0] ?? "").replace(wast, "").slice(0, 100) };
  }
  return { problem: "not converted" };
}

function main(): number {
  if (folder === undefined) {
    say("the WebAssembly test suite is ABSENT: set SELVEDGE_WASM_TESTSUITE; nothing was compared");
    return 1;
  }
  const known = spawnSync(converter, ["--help"], { encoding: "utf8" });
  if (known.error !== undefined) {
    say(`${converter} is ABSENT: install wabt or set SELVEDGE_WAST2JSON; nothing was compared`);
    return 1;
  }
  const flags = FEATURES.filter((name) => known.stdout.includes(`--enable-${name}`)).map((name) => `--enable-${name}`);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".wast") && (words.length === 0 || words.some((word) => path.includes(word))))
    .sort();
  const temporary = mkdtempSync(join(tmpdir(), "selvedge-spec-"));
  const run = new SpecRun(split, isVerbose ? say : () => {});
  const unread: string[] = [];
  try {
    files.forEach((file, i) => {
      const out = join(temporary, String(i));
      const converted = convert(join(folder, file), out, flags);
      if ("problem" in converted) {
        unread.push(`${file}: ${converted.problem}`);
        return;
      }
      const { commands } = JSON.parse(readFileSync(converted.json, "utf8")) as { commands: Command[] };
      run.runFile(relative(folder, join(folder, file)), commands, (name) => new Uint8Array(readFileSync(join(out, name))));
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  say(`${files.length} files, ${unread.length} that wast2json cannot read:`);
  for (const line of unread) say(`  ${line}`);
  return run.report(say) && run.compared > 0 ? 0 : 1;
}

process.exit(main());
