import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Language } from "./manifest.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** A program with what always stands behind it. */
export interface Tool {
  readonly command: string;
  readonly args: readonly string[];
}

/** One call of a compiler. */
export interface BuildStep {
  readonly tool: Tool;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** How a project is built; `missing` says what is not there and what to do about it. */
export type BuildPlan =
  | {
      readonly steps: readonly BuildStep[] /** Where the compiler leaves the module; undefined: at `out`. */;
      readonly made?: string;
    }
  | { readonly missing: string; readonly hint: string };

export interface PlanOptions {
  readonly folder: string;
  readonly name: string;
  /** Absolute path of the module to make. */
  readonly out: string;
  readonly env: Env;
}

export function planBuild(language: Language, options: PlanOptions): BuildPlan {
  return PLANS[language](options);
}

const PLANS: Readonly<Record<Language, (options: PlanOptions) => BuildPlan>> = {
  assemblyscript: planAssemblyScript,
  rust: planRust,
  go: planGo,
  c: planC,
  zig: planZig,
};

/** Flags of every module: a small runtime, exported for the host, that collects only between exchanges. */
const ASC_FLAGS = ["-O3", "--runtime", "minimal", "--exportRuntime", "--exportStart", "_initialize", "--use"];

function planAssemblyScript({ folder, out, env }: PlanOptions): BuildPlan {
  // The single executable runs no scripts: then Node runs the one that npm installed.
  const installed = join(folder, "node_modules", ".bin", "asc");
  const asc = findAsc(folder) ?? (isExecutable(installed) ? toolOf(installed) : toolOnPath("asc", env));
  if (asc === undefined)
    return {
      missing: "the AssemblyScript compiler (asc) is not installed",
      hint: `run npm install in ${folder} (Node 20 or later)`,
    };
  const entry = "assembly/index.ts";
  return {
    steps: [{ tool: asc, args: [entry, "--outFile", out, ...ASC_FLAGS, "abort=assembly/proxy-wasm/abort/abortFilter"] }],
  };
}

/** Of the project, or of the checkout that runs. */
function findAsc(folder: string): Tool | undefined {
  for (const from of [join(folder, "package.json"), fileURLToPath(import.meta.url)]) {
    try {
      const path = join(dirname(createRequire(from).resolve("assemblyscript/package.json")), "bin", "asc.js");
      if (existsSync(path) && isScriptRunner())
        return { command: process.execPath, args: process.versions.deno === undefined ? [path] : ["run", "-A", path] };
    } catch {
      // Not there: the next place.
    }
  }
  return undefined;
}

function isScriptRunner(): boolean {
  return /(^|[\\/])(bun|node|deno)(\.exe)?$/.test(process.execPath);
}

const RUST_TARGET = "wasm32-unknown-unknown";

function planRust({ folder, name, env }: PlanOptions): BuildPlan {
  const cargo = findProgram("cargo", env);
  if (cargo === undefined) return { missing: "Rust (cargo) is not installed", hint: "https://rustup.rs installs it" };
  const made = join(folder, "target", RUST_TARGET, "release", `${name.replaceAll("-", "_")}.wasm`);
  const args = ["build", "--release", "--target", RUST_TARGET, "--target-dir", join(folder, "target")];
  return { steps: [{ tool: toolOf(cargo), args }], made };
}

function planGo({ out, env }: PlanOptions): BuildPlan {
  const go = findProgram("go", env);
  if (go === undefined) return { missing: "Go is not installed", hint: "version 1.24 or later, from https://go.dev/dl" };
  const args = ["build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "."];
  return { steps: [{ tool: toolOf(go), args, env: { GOOS: "wasip1", GOARCH: "wasm" } }] };
}

function planC({ out, folder, env }: PlanOptions): BuildPlan {
  const zig = findZig(env);
  if (zig === undefined) return noZig("C is compiled by Zig, which is not installed");
  const sources = ["src/filter.c", "src/proxy_wasm.c", "src/json.c"].filter((path) => existsSync(join(folder, path)));
  const target = ["--target=wasm32-wasi", "-mexec-model=reactor", "-Os", "-flto", "-Wl,--strip-all"];
  return { steps: [{ tool: zig, args: ["cc", ...target, ...sources, "-o", out] }] };
}

function planZig({ out, env }: PlanOptions): BuildPlan {
  const zig = findZig(env);
  if (zig === undefined) return noZig("Zig is not installed");
  const target = ["-target", "wasm32-freestanding", "-fno-entry", "-rdynamic", "-O", "ReleaseSmall"];
  return { steps: [{ tool: zig, args: ["build-exe", "src/main.zig", ...target, `-femit-bin=${out}`] }] };
}

const noZig = (missing: string): BuildPlan => ({
  missing,
  hint: "pip install ziglang, or https://ziglang.org/download; the variable ZIG names it when it is not on PATH",
});

/** `ZIG`, `zig` on PATH, or the one of the Python package. */
function findZig(env: Env): Tool | undefined {
  const named = env.ZIG;
  if (named !== undefined && named !== "") return toolOf(named);
  const zig = toolOnPath("zig", env);
  const python = zig === undefined ? findProgram("python3", env) : undefined;
  if (python === undefined) return zig;
  const asked = spawnSync(python, ["-c", "import ziglang, os; print(os.path.dirname(ziglang.__file__))"], { encoding: "utf8" });
  const path = join(asked.stdout.trim(), "zig");
  return asked.status === 0 && isExecutable(path) ? toolOf(path) : undefined;
}

function toolOnPath(name: string, env: Env): Tool | undefined {
  const found = findProgram(name, env);
  return found === undefined ? undefined : toolOf(found);
}

const toolOf = (command: string): Tool => ({ command, args: [] });

export function findProgram(name: string, env: Env): string | undefined {
  const folders = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs one step; resolves with its exit code and everything it printed. */
export function runStep(step: BuildStep, cwd: string, env: Env): Promise<{ readonly code: number; readonly output: string }> {
  return new Promise((resolve) => {
    const child = spawn(step.tool.command, [...step.tool.args, ...step.args], {
      ...{ cwd, stdio: ["ignore", "pipe", "pipe"] },
      env: { ...env, ...step.env },
    });
    let output = "";
    const take = (chunk: Buffer): void => {
      output += chunk.toString("utf8");
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("error", (error) => resolve({ code: 1, output: error.message }));
    child.once("close", (code) => resolve({ code: code ?? 1, output }));
  });
}
