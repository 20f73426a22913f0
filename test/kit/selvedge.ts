/** The real program in processes of its own, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export { freePort } from "./ports.ts";

const MAIN = fileURLToPath(new URL("../../src/app/main.ts", import.meta.url));
const WAIT_MS = 15_000;

export interface Finished {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

export interface RunningProgram {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly error: () => string;
  readonly finished: Promise<Finished>;
  /** Resolves when a text is in the output (either stream). Rejects when the program ends before. */
  saw(text: string): Promise<void>;
}

/** Starts `selvedge …`. The caller stops it; whatever is left dies with the test process. */
export function startSelvedge(args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningProgram {
  return startProgram(process.execPath, [MAIN, ...args], { env: { ...process.env, NO_COLOR: "1", ...env } });
}

export interface ProgramOptions {
  /** All of it. Default: ours. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** In a process group of its own, as a terminal would start it. */
  readonly detached?: boolean;
}

/** Starts any program, as `startSelvedge` does ours. */
export function startProgram(command: string, args: readonly string[], options: ProgramOptions = {}): RunningProgram {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options });
  let [out, error] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => {
    out += chunk.toString("utf8");
  });
  child.stderr.on("data", (chunk: Buffer) => {
    error += chunk.toString("utf8");
  });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const finished = new Promise<Finished>((resolve) => {
    child.once("close", (code) => {
      process.off("exit", kill);
      resolve({ code, out, error });
    });
  });
  return {
    child,
    out: () => out,
    error: () => error,
    finished,
    saw: (text) =>
      until(() => {
        if (out.includes(text) || error.includes(text)) return true;
        if (child.exitCode !== null) throw new Error(`it ended without saying "${text}":\n${out}${error}`);
        return false;
      }),
  };
}

/** Runs one command to its end. */
export function runSelvedge(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return startSelvedge(args, env).finished;
}

/** Looks until it holds; rejects after 15 s. What `look` throws ends the wait. */
export async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  for (let waitedMs = 0; waitedMs < WAIT_MS; waitedMs += 20) {
    if (await look()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error("it did not happen in time");
}

export function newFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "selvedge-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Whether a process lives (a zombie does not). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
