import { existsSync } from "node:fs";
import { join } from "node:path";
import type { FilterAbi } from "../../config/snapshot.ts";
import type { Language } from "./languages.ts";
import {
  type BuildStep,
  type Env,
  findAsc,
  findProgram,
  findPythonTool,
  findScriptRunner,
  findZig,
  isExecutable,
  toolOf,
  toolOnPath,
} from "./toolchain.ts";

/** How a project is built; `missing` says what is not there and what to do about it. */
export type BuildPlan =
  | {
      readonly steps: readonly BuildStep[];
      /** Where the compiler leaves the module; undefined: at `out`. */
      readonly made?: string;
    }
  | { readonly missing: string; readonly hint: string };

export interface PlanOptions {
  readonly folder: string;
  readonly name: string;
  readonly abi: FilterAbi;
  /** World of the WIT, for languages that do not name it in their source. */
  readonly world: string;
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
  javascript: (options) => planJavaScript(options, "src/filter.js"),
  typescript: planTypeScript,
  python: planPython,
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

function planRust({ folder, name, abi, env }: PlanOptions): BuildPlan {
  const cargo = findProgram("cargo", env);
  if (cargo === undefined) return { missing: "Rust (cargo) is not installed", hint: "https://rustup.rs installs it" };
  const target = abi === "component" ? "wasm32-wasip2" : "wasm32-unknown-unknown";
  const made = join(folder, "target", target, "release", `${name.replaceAll("-", "_")}.wasm`);
  const args = ["build", "--release", "--target", target, "--target-dir", join(folder, "target")];
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
  // A stack as Zig and Rust have it: Zig's default for C is 16 MiB, which every instance has, and an isolated one puts back each time.
  const target = ["--target=wasm32-wasi", "-mexec-model=reactor", "-Os", "-flto", "-Wl,--strip-all", "-Wl,-z,stack-size=1048576"];
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

/** The SDK of the project (sdk/, which npm links) builds the component; it needs a runtime for scripts that loads native packages. */
function planJavaScript({ folder, out, world, env }: PlanOptions, entry: string): BuildPlan {
  const sdk = join(folder, "node_modules", "@selvedge", "filter", "build.mjs");
  const runner = findScriptRunner(env);
  if (runner === undefined) return { missing: "Node is not installed", hint: "version 20 or later, from https://nodejs.org" };
  if (!existsSync(sdk) || !existsSync(join(folder, "node_modules", "componentize-qjs")))
    return { missing: "the packages of this filter are not installed", hint: `run npm install in ${folder}` };
  return { steps: [{ tool: runner, args: [sdk, entry, "-o", out, "--world", world, ...ownWit(folder)] }] };
}

/** Checks types and leaves JavaScript in dist/js, of which a component is made. */
function planTypeScript(options: PlanOptions): BuildPlan {
  const plan = planJavaScript(options, "dist/js/filter.js");
  if ("missing" in plan) return plan;
  const compiler = join(options.folder, "node_modules", ".bin", "tsc");
  if (!existsSync(compiler))
    return { missing: "the TypeScript compiler is not installed", hint: `run npm install in ${options.folder}` };
  return { steps: [{ tool: toolOf(compiler), args: ["--project", "tsconfig.json"] }, ...plan.steps] };
}

function planPython({ folder, out, world, env }: PlanOptions): BuildPlan {
  const tool = findPythonTool("componentize-py", "componentize_py", env);
  if (tool === undefined)
    return {
      missing: "componentize-py is not installed",
      hint: "pip install componentize-py==0.25.1, with Python 3.10 or later",
    };
  const args = ["--quiet", "--wit-path", join(folder, "wit"), "--world", world];
  return { steps: [{ tool, args: [...args, "componentize", "app", "--python-path", join(folder, "src"), "--output", out] }] };
}

/** A world of one's own: a folder `wit` in the project that includes those of the SDK. */
const ownWit = (folder: string): string[] => (existsSync(join(folder, "wit")) ? ["--wit", join(folder, "wit")] : []);
