/**
 * The modules that bench/meter.ts measures, and how they are started: it says what they need.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { SystemClock } from "../src/core/clock.ts";
import { FUEL_EXPORT, type MeterSwap, START_EXPORT } from "../src/filters/meter/index.ts";

/** More than any kernel uses between two refills. */
export const FUEL = 2 ** 31 - 1;
const GUESTS = fileURLToPath(new URL("./meter-guests/", import.meta.url));

export type Wasm = Uint8Array<ArrayBuffer>;
/** Runs a kernel for that many rounds, and sets the fuel. */
export interface Guest {
  readonly kernels: ReadonlyMap<string, (rounds: number) => unknown>;
  refill(): void;
}
export interface Subject {
  readonly name: string;
  readonly wasm: Wasm;
  /** Undefined: only rewritten. */
  readonly start?: (wasm: Wasm) => Promise<Guest>;
}

const clock = new SystemClock();
/** What could not be built, and why. */
export const absent: string[] = [];
const readWasm = (path: string): Wasm => new Uint8Array(readFileSync(path));

/** WASI's "bad file descriptor": there are no folders to look at. */
const NO_FOLDER = 8;

/** These guests need nothing of their host but a clock that goes; every other import answers 0. */
export async function startPlain(wasm: Wasm): Promise<Guest> {
  const host: { memory?: WebAssembly.Memory } = {};
  const answer = (name: string, args: readonly (number | bigint)[]): number => {
    if (name === "fd_prestat_get") return NO_FOLDER;
    if (name === "clock_time_get" && host.memory !== undefined)
      new DataView(host.memory.buffer).setBigUint64(Number(args[2]), BigInt(Math.ceil(clock.nowMs() * 1e6)), true);
    return 0;
  };
  const module = await WebAssembly.compile(wasm);
  const imports: Record<string, Record<string, (...args: (number | bigint)[]) => number>> = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    imports[from] ??= {};
    imports[from][name] = (...args) => answer(name, args);
  }
  const { exports } = await WebAssembly.instantiate(module, imports);
  host.memory = exports.memory as WebAssembly.Memory;
  (exports[START_EXPORT] as (() => void) | undefined)?.();
  (exports._initialize as (() => void) | undefined)?.();
  const kernels = new Map<string, (rounds: number) => unknown>();
  for (const [name, value] of Object.entries(exports)) {
    if (typeof value === "function" && !/^(_|malloc|free|abort|selvedge:)/.test(name))
      kernels.set(name, value as (rounds: number) => unknown);
  }
  const swap = exports[FUEL_EXPORT] as MeterSwap | undefined;
  return { kernels, refill: () => void swap?.(FUEL) };
}

function build(
  name: string,
  out: string,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  cwd = GUESTS,
): Subject[] {
  const [program, ...args] = command as [string, ...string[]];
  const done = spawnSync(program, args, { encoding: "utf8", cwd, env: { ...process.env, ...env } });
  if (done.status === 0) return [{ name, wasm: readWasm(out), start: startPlain }];
  absent.push(`${name}: ${(done.error?.message ?? done.stderr).split("\n")[0]}`);
  return [];
}

async function buildAssemblyScript(): Promise<Subject[]> {
  const { default: asc } = await import("assemblyscript/asc");
  const { binary, stderr } = await asc.compileString(readFileSync(join(GUESTS, "guest.assemblyscript"), "utf8"), {
    optimizeLevel: 3,
    runtime: "minimal",
  });
  if (binary !== null) return [{ name: "AssemblyScript", wasm: new Uint8Array(binary), start: startPlain }];
  absent.push(`AssemblyScript: ${stderr.toString()}`);
  return [];
}

function buildGo(folder: string): Subject[] {
  const source = join(folder, "go");
  mkdirSync(source);
  writeFileSync(join(source, "main.go"), readFileSync(join(GUESTS, "guest.go")));
  writeFileSync(join(source, "go.mod"), "module guest\n\ngo 1.24\n");
  const out = join(folder, "go.wasm");
  return build("Go", out, ["go", "build", "-buildmode=c-shared", "-o", out, "."], { GOOS: "wasip1", GOARCH: "wasm" }, source);
}

type Instantiate = (imports: WebAssembly.Imports, onDone: (instance: WebAssembly.Instance) => void) => WebAssembly.Exports;
interface QuickJs {
  newVariant(base: unknown, options: { emscriptenModule: { instantiateWasm: Instantiate } }): unknown;
  newQuickJSWASMModuleFromVariant(variant: unknown): Promise<{
    newContext(): { evalCode(code: string): { value: { dispose(): void } } };
  }>;
}

const SCRIPTS: Readonly<Record<string, string>> = {
  json: 'for (let i = 0; i < 50; i++) JSON.stringify(JSON.parse(\'{"a":[1,2,3],"b":{"c":"text"}}\'))',
  strings: "let s = ''; for (let i = 0; i < 300; i++) s = (s + 'abc').slice(-50).toUpperCase(); s.length",
  objects: "const o = {}; for (let i = 0; i < 300; i++) o['k' + i % 40] = (o['k' + i % 40] ?? 0) + i; Object.keys(o).length",
  regexp: "let n = 0; for (let i = 0; i < 60; i++) n += 'a=1; b=22; c=333'.match(/(\\w)=(\\d+)/g).length; n",
};

async function findQuickJs(): Promise<Subject[]> {
  const folder = process.env.SELVEDGE_QUICKJS;
  if (folder === undefined) {
    absent.push("QuickJS: SELVEDGE_QUICKJS is not set");
    return [];
  }
  const packages = join(folder, "node_modules");
  const core = (await import(pathToFileURL(join(packages, "quickjs-emscripten-core/dist/index.mjs")).href)) as QuickJs;
  const files = join(packages, "@jitl/quickjs-wasmfile-release-sync/dist");
  const base = ((await import(pathToFileURL(join(files, "index.mjs")).href)) as { default: unknown }).default;
  const start = async (wasm: Wasm): Promise<Guest> => {
    const module = await WebAssembly.compile(wasm);
    const kept: { fuel?: MeterSwap } = {};
    const instantiateWasm: Instantiate = (imports, onDone) => {
      const instance = new WebAssembly.Instance(module, imports);
      kept.fuel = instance.exports[FUEL_EXPORT] as MeterSwap;
      onDone(instance);
      return instance.exports;
    };
    const variant = core.newVariant(base, { emscriptenModule: { instantiateWasm } });
    const context = (await core.newQuickJSWASMModuleFromVariant(variant)).newContext();
    const run = (script: string) => (rounds: number) => {
      for (let i = 0; i < rounds; i++) context.evalCode(`{${script}}`).value.dispose();
    };
    return {
      kernels: new Map(Object.entries(SCRIPTS).map(([name, script]) => [name, run(script)])),
      refill: () => void kept.fuel?.(FUEL),
    };
  };
  return [{ name: "QuickJS", wasm: readWasm(join(files, "emscripten-module.wasm")), start }];
}

function findOthers(): Subject[] {
  const filters = fileURLToPath(new URL("../dist/filters/", import.meta.url));
  const builtins = existsSync(filters) ? readdirSync(filters).filter((name) => name.endsWith(".wasm")) : [];
  if (builtins.length === 0) absent.push("the built-in filters: run npm run build");
  const others = (process.env.SELVEDGE_METER_MODULES ?? "").split(":").filter((path) => path !== "");
  return [...builtins.sort().map((name) => join(filters, name)), ...others].map((path) => ({
    name: path.slice(path.lastIndexOf("/") + 1),
    wasm: readWasm(path),
  }));
}

export async function findSubjects(): Promise<Subject[]> {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-meter-"));
  const subjects: Subject[] = [];
  try {
    const rust = join(folder, "rust.wasm");
    const c = join(folder, "c.wasm");
    const options = [
      "--target",
      "wasm32-unknown-unknown",
      "-C",
      "opt-level=3",
      "-C",
      "strip=debuginfo",
      "--crate-type",
      "cdylib",
    ];
    subjects.push(
      ...(await buildAssemblyScript()),
      ...build("Rust", rust, ["rustc", ...options, "--edition", "2021", "-o", rust, "guest.rs"]),
      ...buildGo(folder),
      ...build("C", c, [
        process.env.ZIG ?? "zig",
        "cc",
        "-target",
        "wasm32-wasi",
        "-mexec-model=reactor",
        "-O2",
        "-s",
        "-o",
        c,
        "guest.c",
      ]),
      ...(await findQuickJs().catch((error: unknown) => {
        absent.push(`QuickJS: ${String(error).split("\n")[0]}`);
        return [];
      })),
      ...findOthers(),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return subjects;
}
