// Finds or obtains what filters in other languages are compiled with, without root: the wasm targets of Rust (rustup), Zig and
// componentize-py (pip), and QuickJS for the bench (npm). Go is found only: it is too large to be fetched on the way. Packages of npm
// are fetched by the projects.
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { cacheFolder } from "./nats.mjs";
import { run } from "./run.mjs";

const ZIG_PACKAGE = "ziglang==0.17.0";
const PYTHON_PACKAGE = "componentize-py==0.25.1";
const QUICKJS_PACKAGES = ["quickjs-emscripten-core@0.32.0", "@jitl/quickjs-wasmfile-release-sync@0.32.0"];
const RUST_TARGETS = ["wasm32-unknown-unknown", "wasm32-wasip2"];

const onPath = (name) =>
  (process.env.PATH ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));

/**
 * Says what is there and what is missing. The suites fail for a language without its toolchain when `CI` is set; elsewhere they leave it
 * out, and `missing` is to be shown.
 * @param {(line: string) => void} print
 * @returns {Promise<{ variables: Record<string, string>, missing: string[] }>} variables for the suites, and languages
 */
export async function obtainToolchains(print) {
  const zig = await obtainZig(print);
  const python = await obtainPython(print);
  const found = { c: zig, zig, python, rust: await obtainRustTargets(print), go: onPath("go"), javascript: onPath("npm") };
  for (const [language, path] of Object.entries(found)) print(`${language}: ${path ?? "MISSING"}`);
  const missing = Object.keys(found).filter((language) => found[language] === undefined);
  if (missing.includes("javascript")) missing.push("typescript");
  const variables = {};
  if (zig !== undefined) variables.ZIG = zig;
  if (python !== undefined) variables.PYTHONPATH = python;
  if (!process.env.CI) variables.SELVEDGE_MISSING_LANGUAGES = missing.join(",");
  return { variables, missing };
}

/** The folder that has componentize-py. */
async function obtainPython(print) {
  const folder = join(cacheFolder(), "componentize-py");
  const isThere = () => existsSync(join(folder, "componentize_py"));
  if (!isThere()) await pipInstall(folder, PYTHON_PACKAGE, "about 50 MB", print);
  return isThere() ? folder : undefined;
}

async function pipInstall(folder, name, size, print) {
  const python = onPath("python3");
  if (python === undefined) {
    print(`${name}: python3 with pip is needed to obtain it`);
    return;
  }
  print(`downloading pip package ${name}, ${size}`);
  mkdirSync(folder, { recursive: true });
  const args = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, name];
  const { code, output } = await run(python, args, { capture: true });
  if (code !== 0) print(`${name}: pip failed: ${output.trim().split("\n").at(-1)}`);
}

async function obtainZig(print) {
  const folder = join(cacheFolder(), "zig");
  const cached = join(folder, "ziglang", "zig");
  const found = process.env.ZIG || onPath("zig") || (existsSync(cached) ? cached : undefined);
  if (found !== undefined) return found;
  await pipInstall(folder, ZIG_PACKAGE, "about 100 MB", print);
  return existsSync(cached) ? cached : undefined;
}

/** QuickJS as a module of WebAssembly, for bench/meter.ts alone: the variable that names its folder; nothing when it cannot be had. */
export async function obtainQuickJs(print) {
  const folder = process.env.SELVEDGE_QUICKJS || join(cacheFolder(), "quickjs");
  const isThere = () => existsSync(join(folder, "node_modules", "quickjs-emscripten-core"));
  if (!isThere()) {
    print(`downloading npm packages ${QUICKJS_PACKAGES.join(" and ")}, about 3 MB`);
    mkdirSync(folder, { recursive: true });
    const args = ["install", "--prefix", folder, "--no-save", "--no-package-lock", "--ignore-scripts", ...QUICKJS_PACKAGES];
    const { code, output } = await run("npm", args, { capture: true });
    if (code !== 0) print(`QuickJS: npm failed: ${output.trim().split("\n").at(-1)}`);
  }
  return isThere() ? { SELVEDGE_QUICKJS: folder } : {};
}

async function obtainRustTargets(print) {
  const rustup = onPath("rustup");
  if (onPath("cargo") === undefined || rustup === undefined) return undefined;
  const { code, output } = await run(rustup, ["target", "add", ...RUST_TARGETS], { capture: true });
  if (code === 0) return RUST_TARGETS.join(", ");
  print(`rust: rustup failed: ${output.trim().split("\n").at(-1)}`);
  return undefined;
}
