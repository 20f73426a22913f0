/** The real program in processes of its own, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { until } from "./until.ts";

export { freePort } from "./ports.ts";
export { until };

const MAIN = fileURLToPath(new URL("../../src/app/main.ts", import.meta.url));

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
  return startProgram(process.execPath, [MAIN, ...args], {
    env: { ...process.env, NO_COLOR: "1", SELVEDGE_TIED: "1", ...env },
    tied: true,
  });
}

export interface ProgramOptions {
  /** All of it. Default: ours. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** In a process group of its own, as a terminal would start it. */
  readonly detached?: boolean;
  /** With a channel whose end tells it that we are gone. */
  readonly tied?: boolean;
}

/** Starts any program, as `startSelvedge` does ours. */
export function startProgram(command: string, args: readonly string[], options: ProgramOptions = {}): RunningProgram {
  const { tied = false, ...rest } = options;
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe", tied ? "ipc" : "ignore"], ...rest }) as ChildProcess & {
    readonly stdout: Readable;
    readonly stderr: Readable;
  };
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
    saw: async (text) => {
      const isThere = (): boolean => out.includes(text) || error.includes(text);
      let ended = false;
      void finished.then(() => {
        ended = true;
      });
      await until(() => isThere() || ended).catch(() => {});
      if (!isThere()) throw new Error(`it ${ended ? "ended without saying" : "never said"} "${text}":\n${out}${error}`);
    },
  };
}

/** Runs one command to its end. */
export function runSelvedge(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return startSelvedge(args, env).finished;
}

export function newFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "selvedge-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Folders of shared memory that a worker's environment (/proc/…/environ) names; other folders of its settings are no business of it. */
export function sharedFoldersIn(environment: string): string[] {
  const settings = /SELVEDGE_WORKER_SETTINGS=([^\0]*)/.exec(environment)?.[1] ?? "";
  const folders = [...settings.matchAll(/"folder":"([^"]+)"/g)].map((match) => match[1] ?? "");
  return folders.filter((path) => basename(path).startsWith("selvedge-"));
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
