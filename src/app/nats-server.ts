import { accessSync, constants, mkdirSync } from "node:fs";
import { connect } from "node:net";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { CommandError } from "../cli/command.ts";
import type { Clock } from "../core/clock.ts";
import { spawnTied } from "../runtime/process.ts";

/** A NATS server that we started. */
export interface OwnNats {
  readonly url: string;
  readonly program: string;
  /** Resolves when the process is gone. */
  close(): Promise<void>;
}

/** Far beyond what it takes, also cold on a slow machine: it ends what hangs. */
const READY_MS = 60_000;
const STOP_MS = 3_000;
const LOG_MAX = 4_000;

/** Path of a program: on PATH (then its name will do), or in the cache folder where `npm start` puts it. */
export function findProgram(name: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const onPath = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  if (onPath.some((folder) => isExecutable(join(folder, name)))) return name;
  const cache = env.SELVEDGE_TOOLS_DIR || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "selvedge");
  const cached = join(cache, "bin", name);
  return isExecutable(cached) ? cached : undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Starts it with JetStream in a folder; `onSpawn` gets its process. Rejects with a `CommandError` that names the port when that is in use. */
export async function startNatsServer(
  program: string,
  address: { readonly host: string; readonly port: number },
  folder: string,
  clock: Clock,
  onSpawn: (pid: number) => void,
): Promise<OwnNats> {
  const { host, port } = address;
  if (await answers(host, port))
    throw new CommandError(
      `port ${port} on ${host} is in use`,
      `if that is a NATS server, use it with --nats nats://${host}:${port}; else choose another port with --nats-listen ${host}:<port>; if it is that of another \`up\`, a second one beside it needs a folder of its own, too: --state-dir <folder>`,
    );
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const child = spawnTied(program, ["-a", host, "-p", String(port), "-js", "-sd", folder]);
  if (child.pid !== undefined) onSpawn(child.pid);
  let output = "";
  const { promise: gone, resolve: onGone } = Promise.withResolvers<void>();
  const { promise: ready, resolve: onReady } = Promise.withResolvers<void>();
  child.stderr.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString("utf8")).slice(-LOG_MAX);
    if (output.includes("Server is ready")) onReady();
  });
  child.once("error", (error) => {
    output += error.message;
    onGone();
  });
  child.once("exit", () => onGone());
  const failed = Promise.withResolvers<never>();
  void gone.then(() => failed.reject(startFailure(program, output)));
  const late = clock.setTimer(READY_MS, () => failed.reject(startFailure(program, output)));
  const stopAtExit = (): void => void child.kill("SIGKILL");
  process.once("exit", stopAtExit);
  try {
    await Promise.race([ready, failed.promise]);
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  } finally {
    late.cancel();
  }
  return {
    url: `nats://${host}:${port}`,
    program,
    close: async () => {
      process.off("exit", stopAtExit);
      child.kill("SIGTERM");
      const force = clock.setTimer(STOP_MS, () => void child.kill("SIGKILL"));
      await gone;
      force.cancel();
    },
  };
}

function startFailure(program: string, output: string): CommandError {
  const reason = output.trim().split("\n").at(-1) ?? "";
  return new CommandError(`${program} did not start: ${reason}`, "use --nats off for the in-process bus");
}

/** Whether somebody listens there. */
function answers(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ host, port });
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
}
