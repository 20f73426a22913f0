import { type ChildProcess, type ChildProcessByStdio, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import process from "node:process";
import type { Readable } from "node:stream";

/** How this program is started: what runs it, and the arguments before its own. */
export interface SelfCommand {
  readonly command: string;
  readonly args: readonly string[];
}

/** Only what is asked of other runtimes' globals. */
interface Runtimes {
  readonly Bun?: { readonly isStandaloneExecutable?: boolean };
  readonly Deno?: { readonly build: { readonly standalone?: boolean } };
}

const runtimes = globalThis as unknown as Runtimes;

/** The command that starts this program again: the script with its runtime, or the single executable that is both. */
export function selfCommand(): SelfCommand {
  const command = process.execPath;
  if (runtimes.Bun?.isStandaloneExecutable === true || runtimes.Deno?.build.standalone === true) return { command, args: [] };
  const script = process.argv[1];
  if (script === undefined) throw new Error("this program was not started from a file");
  if (runtimes.Deno !== undefined) return { command, args: ["run", "-A", "--no-lock", script] };
  return { command, args: [...process.execArgv, script] };
}

/** Name and version of the runtime: with another one, what an engine accepts may differ. */
export function runtimeName(): string {
  const { bun, deno, node } = process.versions;
  return bun !== undefined ? `bun ${bun}` : deno !== undefined ? `deno ${deno}` : `node ${node}`;
}

/** JavaScriptCore takes 5 MiB of a thread's stack, V8 984 KiB unless a flag says otherwise. */
function stackBytes(): number {
  if (runtimes.Bun !== undefined) return 5 * 1024 * 1024;
  const [, kib = "984"] = /--stack[-_]size[= ](\d+)/.exec(process.env.DENO_V8_FLAGS ?? "") ?? [];
  return Number(kib) * 1024;
}

/** Slots of 8 bytes that guests may have of the stack; the host needs the rest, and in the worst of frames a slot takes all of its 8 bytes. */
export const stackSlots = (): number => Math.floor((stackBytes() * 0.8) / 8);

/** What passes between processes: anything the structured clone knows, bytes (`Uint8Array`) without a detour through text. */
export type WorkerMessage = unknown;

export interface SpawnOptions {
  readonly onMessage: (message: WorkerMessage) => void;
  /** Exactly once. A worker that could not be started exits with code -1 and the reason. */
  readonly onExit: (code: number | undefined, signal: string | undefined, error: Error | undefined) => void;
  /** Added to our own environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: this program. */
  readonly self?: SelfCommand;
}

/** A process of ours, with a channel for messages. It ends when this process does. */
export interface WorkerProcess {
  readonly pid: number;
  /** False when the channel is closed: the message is lost. */
  send(message: WorkerMessage): boolean;
  /** `SIGTERM` (default), `SIGKILL`, ... */
  kill(signal?: NodeJS.Signals): void;
}

const CHANNEL_VARIABLE = "SELVEDGE_WORKER";
/**
 * JavaScriptCore keeps address space ready for eight WebAssembly memories unless told otherwise; all others run slower, and are
 * moved when they grow. Read when a process starts, so only a parent can set it. Without effect elsewhere. Not more: when they are used up
 * it collects those of instances that are gone, and does so for no other reason (1,000: workers went from 183 to 230 MB in 1,000 reloads).
 */
const ENGINE_VARIABLES = { BUN_JSC_maxNumWasmFastMemories: "100" };

/** Starts this program again with `entryArgs` and a channel to it. Output goes where ours goes. */
export function spawnWorker(entryArgs: readonly string[], options: SpawnOptions): WorkerProcess {
  const self = options.self ?? selfCommand();
  const child = spawn(self.command, [...self.args, ...entryArgs], {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
    serialization: "advanced",
    env: { ...ENGINE_VARIABLES, ...process.env, ...options.env, [CHANNEL_VARIABLE]: "1" },
  });
  let exited = false;
  const exit = (code: number | undefined, signal: string | undefined, error: Error | undefined): void => {
    if (exited) return;
    exited = true;
    options.onExit(code, signal, error);
  };
  child.on("message", (message: WorkerMessage) => options.onMessage(message));
  child.on("error", (error) => {
    if (child.pid === undefined) exit(-1, undefined, error);
  });
  child.on("exit", (code, signal) => exit(code ?? undefined, signal ?? undefined, undefined));
  return {
    pid: child.pid ?? -1,
    send: (message) => sendTo(child, message),
    kill: (signal = "SIGTERM") => void child.kill(signal),
  };
}

function sendTo(child: ChildProcess, message: WorkerMessage): boolean {
  if (!child.connected) return false;
  try {
    // Whether it was queued is no matter of ours: only a closed channel loses it.
    child.send(message as object, () => {});
    return true;
  } catch {
    return false;
  }
}

/** The worker's end of the channel. */
export interface WorkerPort {
  /** False when the parent is gone. */
  send(message: WorkerMessage): boolean;
  onMessage(handler: (message: WorkerMessage) => void): void;
  /** The parent is gone: the last chance to drain. The process exits once `handler` is done (at once without one). */
  onDisconnect(handler: () => void | Promise<void>): void;
}

/** The channel to the process that started us with `spawnWorker`; undefined when nobody did. */
export function workerPort(): WorkerPort | undefined {
  if (process.env[CHANNEL_VARIABLE] === undefined || process.send === undefined) return undefined;
  let drain: () => void | Promise<void> = () => {};
  process.once("disconnect", () => {
    Promise.resolve()
      .then(() => drain())
      .finally(() => process.exit(0));
  });
  return {
    send(message) {
      if (!process.connected) return false;
      process.send?.(message, undefined, undefined, () => {});
      return true;
    },
    onMessage: (handler) => void process.on("message", handler),
    onDisconnect(handler) {
      drain = handler;
    },
  };
}

/** Set by launchers that give us a channel: with its end we are asked to stop. */
const TIED_VARIABLE = "SELVEDGE_TIED";

/** Whoever started us may be killed without a word: then we stop as by SIGTERM. For processes that a launcher of ours started. */
export function stopWithParent(): void {
  if (process.env[TIED_VARIABLE] === undefined || process.send === undefined) return;
  // Not for those that we start: they get channels of their own.
  delete process.env[TIED_VARIABLE];
  delete process.env.NODE_CHANNEL_FD;
  process.once("disconnect", () => process.kill(process.pid, "SIGTERM"));
  (process as { readonly channel?: { unref?(): void } }).channel?.unref?.();
}

/**
 * A watcher beside the program, in its process group: it reads from us until we are gone, asks the program to end, and insists. Its number
 * cannot be another's meanwhile, because the group is named after it and has the watcher in it. It reads by itself: where PATH leads to no
 * `cat`, the end of one that never began would be taken for ours.
 */
const TIE = `exec 3<&0 </dev/null
(while read -r _ <&3; do :; done; kill $$ && sleep 5 && kill -9 $$) >/dev/null 2>&1 &
exec "$@" 3<&-`;
const SHELL = "/bin/sh";

/**
 * Starts a program that knows nothing of us and ends when we do, even if we are killed: by a small shell beside it (where there is none, it is
 * left behind then). In a group of its own: Ctrl-C in the terminal must not stop it before what depends on it. Its stderr is to be read.
 */
export function spawnTied(program: string, args: readonly string[]): ChildProcessByStdio<null, null, Readable> {
  const command = existsSync(SHELL) ? [SHELL, "-c", TIE, SHELL, program, ...args] : [program, ...args];
  const child = spawn(command[0] as string, command.slice(1), { stdio: ["pipe", "ignore", "pipe"], detached: true });
  child.once("exit", () => {
    try {
      // The watcher has nothing to do any more.
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
  });
  return child as unknown as ChildProcessByStdio<null, null, Readable>;
}

/** Whether a process is there, and ours to signal. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Calls `handler` each time the signal comes, instead of the default; the result takes it off again. */
export function onSignal(signal: NodeJS.Signals, handler: () => void): () => void {
  process.on(signal, handler);
  return () => void process.off(signal, handler);
}

/** How many workers can run at once: cores, less what the container or affinity takes away. At least 1. */
export const availableCores = (): number => Math.max(1, availableParallelism());
