#!/usr/bin/env node
// Builds a filter in JavaScript: `selvedge-filter-build filter.js -o filter.wasm [--world head-filter] [--wit FOLDER]`.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const HERE = dirname(fileURLToPath(import.meta.url));

/**
 * Builds the module at `entry` (one file; it may import "@selvedge/filter" and files beside it). Answers the component's bytes.
 * `wit`: a folder or file of WIT instead of this package's, for a world of one's own.
 */
export async function buildFilter(entry, { world = "head-filter", wit = join(HERE, "wit", "filter.wit") } = {}) {
  const { componentize } = await import("componentize-qjs");
  const folder = mkdtempSync(join(tmpdir(), "selvedge-filter-"));
  try {
    // The runtime reads modules from this folder only, by relative names.
    cpSync(dirname(resolve(entry)), folder, { recursive: true, filter: (path) => !path.includes("node_modules") });
    writeFileSync(join(folder, "selvedge-filter.js"), readFileSync(join(HERE, "index.js")));
    const source = readFileSync(entry, "utf8").replaceAll(/(["'])@selvedge\/filter\1/g, '"./selvedge-filter.js"');
    const jsPath = join(folder, "main.js");
    writeFileSync(jsPath, source);
    const { component } = await componentize({ witPath: wit, world, sync: true, jsSource: source, jsPath, moduleRoot: folder });
    return component;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const options = { out: { type: "string", short: "o" }, world: { type: "string" }, wit: { type: "string" } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const [entry] = positionals;
  if (entry === undefined || values.out === undefined) {
    process.stderr.write("usage: selvedge-filter-build FILTER.js -o FILTER.wasm [--world head-filter] [--wit FOLDER]\n");
    process.exit(2);
  }
  const { out, ...rest } = values;
  const component = await buildFilter(entry, rest);
  writeFileSync(out, component);
  process.stdout.write(`${out}: ${component.byteLength} bytes\n`);
}
