import { spawn, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export type Env = Readonly<Record<string, string | undefined>>;

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

/** Of the project, or of the checkout that runs. */
export function findAsc(folder: string): Tool | undefined {
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

/** What runs scripts of npm packages: Node, else the Bun that runs this. */
export function findScriptRunner(env: Env): Tool | undefined {
  return toolOnPath("node", env) ?? toolOnPath("bun", env) ?? (isScriptRunner() ? toolOf(process.execPath) : undefined);
}

/** A program that a Python package brings: on PATH, or through the Python that has the package. */
export function findPythonTool(name: string, module: string, env: Env): Tool | undefined {
  const python = findProgram("python3", env);
  if (python === undefined) return toolOnPath(name, env);
  const options = { encoding: "utf8", env: { ...env } } as const;
  if (spawnSync(python, ["-c", `import ${module}`], options).status !== 0) return toolOnPath(name, env);
  const start = `import sys, ${module}; sys.argv[0] = "${name}"; sys.exit(${module}.script())`;
  return { command: python, args: ["-c", start] };
}

/** `ZIG`, `zig` on PATH, or the one of the Python package. */
export function findZig(env: Env): Tool | undefined {
  const named = env.ZIG;
  if (named !== undefined && named !== "") return toolOf(named);
  const zig = toolOnPath("zig", env);
  const python = zig === undefined ? findProgram("python3", env) : undefined;
  if (python === undefined) return zig;
  const asked = spawnSync(python, ["-c", "import ziglang, os; print(os.path.dirname(ziglang.__file__))"], { encoding: "utf8" });
  const path = join(asked.stdout.trim(), "zig");
  return asked.status === 0 && isExecutable(path) ? toolOf(path) : undefined;
}

export function toolOnPath(name: string, env: Env): Tool | undefined {
  const found = findProgram(name, env);
  return found === undefined ? undefined : toolOf(found);
}

export const toolOf = (command: string): Tool => ({ command, args: [] });

export function findProgram(name: string, env: Env): string | undefined {
  const folders = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** How a step ended, and everything it printed. */
export interface StepResult {
  readonly code: number;
  readonly output: string;
  /** What killed it. */
  readonly signal?: string;
}

/** What shells and npm make of Ctrl-C. */
const INTERRUPTED = 130;

/** Did Ctrl-C end it? A terminal sends it to the compiler, too. */
export const isInterrupted = ({ code, signal }: StepResult): boolean => signal === "SIGINT" || code === INTERRUPTED;

/** Runs one step; `onLine`: the newest line, as it comes. */
export function runStep(step: BuildStep, cwd: string, env: Env, onLine: (line: string) => void = () => {}): Promise<StepResult> {
  return new Promise((resolve) => {
    const child = spawn(step.tool.command, [...step.tool.args, ...step.args], {
      ...{ cwd, stdio: ["ignore", "pipe", "pipe"] },
      env: { ...env, ...step.env },
    });
    let output = "";
    const take = (chunk: Buffer): void => {
      const text = chunk.toString("utf8");
      output += text;
      onLine(text.trimEnd().split("\n").at(-1) ?? "");
    };
    child.stdout?.on("data", take);
    child.stderr?.on("data", take);
    child.once("error", (error) => resolve({ code: 1, output: error.message }));
    child.once("close", (code, signal) => resolve({ code: code ?? 1, output, ...(signal === null ? {} : { signal }) }));
  });
}
