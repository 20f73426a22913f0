// Finds or obtains what filters in other languages are compiled with, without root: the wasm target of Rust (rustup) and Zig (pip).
// Go is found only: it is too large to be fetched on the way.
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { cacheFolder } from "./nats.mjs";
import { run } from "./run.mjs";

const ZIG_PACKAGE = "ziglang==0.17.0";
const RUST_TARGET = "wasm32-unknown-unknown";

const onPath = (name) =>
  (process.env.PATH ?? "")
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));

/**
 * Says what is missing; the suites that need it then fail.
 * @param {(line: string) => void} print
 * @returns {Promise<Record<string, string>>} variables for the suites
 */
export async function obtainToolchains(print) {
  const zig = await obtainZig(print);
  print(`zig: ${zig ?? "MISSING: the suites that need it will fail"}`);
  await obtainRustTarget(print);
  print(`go: ${onPath("go") ?? "MISSING: the suites that need it will fail"}`);
  return zig === undefined ? {} : { ZIG: zig };
}

async function obtainZig(print) {
  const folder = join(cacheFolder(), "zig");
  const cached = join(folder, "ziglang", "zig");
  const found = process.env.ZIG || onPath("zig") || (existsSync(cached) ? cached : undefined);
  if (found !== undefined) return found;
  const python = onPath("python3");
  if (python === undefined) {
    print("zig: python3 with pip is needed to obtain it");
    return undefined;
  }
  print(`downloading Zig (pip package ${ZIG_PACKAGE}, about 100 MB)`);
  mkdirSync(folder, { recursive: true });
  const { code, output } = await run(python, ["-m", "pip", "install", "--quiet", "--no-deps", "--target", folder, ZIG_PACKAGE], {
    capture: true,
  });
  if (code !== 0) print(`zig: pip failed: ${output.trim().split("\n").at(-1)}`);
  return existsSync(cached) ? cached : undefined;
}

async function obtainRustTarget(print) {
  const rustup = onPath("rustup");
  if (onPath("cargo") === undefined || rustup === undefined) {
    print("rust: MISSING cargo or rustup: the suites that need it will fail");
    return;
  }
  const { code, output } = await run(rustup, ["target", "add", RUST_TARGET], { capture: true });
  print(code === 0 ? `rust: ${RUST_TARGET}` : `rust: rustup failed: ${output.trim().split("\n").at(-1)}`);
}
