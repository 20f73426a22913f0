#!/usr/bin/env node
// Builds a filter in JavaScript: `selvedge-filter-build filter.js -o filter.wasm [--world head-filter] [--wit FOLDER]`.
import { cpSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
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
    cpSync(dirname(resolve(entry)), folder, { recursive: true, filter: (path) => !/[\\/]node_modules([\\/]|$)/.test(path) });
    for (const name of readdirSync(folder, { recursive: true })) linkSdk(folder, String(name));
    writeFileSync(join(folder, SDK_FILE), readFileSync(join(HERE, "index.js")));
    const jsPath = join(folder, basename(entry));
    const source = readFileSync(jsPath, "utf8");
    const { component } = await componentize({ witPath: wit, world, sync: true, jsSource: source, jsPath, moduleRoot: folder });
    return component;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Its name in that folder: no file of a filter is called like this by chance. */
const SDK_FILE = "selvedge-filter-sdk.js";

/** Lets one module find the SDK by a relative name. */
function linkSdk(folder, name) {
  if (!/\.m?js$/.test(name)) return;
  const depth = name.split(/[\\/]/).length - 1;
  const path = join(folder, name);
  const specifier = `"${depth === 0 ? "./" : "../".repeat(depth)}${SDK_FILE}"`;
  writeFileSync(path, readFileSync(path, "utf8").replaceAll(/(["'])@selvedge\/filter\1/g, specifier));
}

// npm links packages: the name that was called need not be the file's own.
if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
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
