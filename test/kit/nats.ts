import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNats } from "../../scripts/nats.mjs";
import { spawnTied } from "../../src/runtime/process.ts";
import { freePort } from "./ports.ts";
import { until } from "./until.ts";

export interface NatsServer {
  /** `nats://127.0.0.1:port`; the same after a restart. */
  readonly url: string;
  readonly port: number;
  /** Stops the process (SIGKILL when `hard`), keeping its data. */
  halt(hard?: boolean): Promise<void>;
  /** Starts it again on the same port with the same data. */
  resume(): Promise<void>;
  /** Stops it and deletes its folder. */
  stop(): Promise<void>;
}

/** How often another port is tried: somebody may take one between our look at it and the server's. */
const TRIES = 5;

/** A real nats-server with JetStream on a free port. `config` is added to its configuration file. `binary`: another version. */
export async function startNats(options: { readonly config?: string; readonly binary?: string } = {}): Promise<NatsServer> {
  const binary = options.binary ?? (await findNats()).server;
  if (binary === undefined) throw new Error("there is no nats-server: run `node scripts/nats.mjs`");
  const folder = await mkdtemp(join(tmpdir(), "selvedge-nats-"));
  const configPath = join(folder, "server.conf");
  await writeFile(configPath, options.config ?? "");
  // Not one that the kernel gives away: while the server is down for a restart, any connection could get it as its own.
  let port = await freePort();
  let child: ChildProcess | undefined;

  const start = async (): Promise<void> => {
    const args = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", join(folder, "data"), "-c", configPath];
    const started = spawnTied(binary, args);
    child = started;
    let log = "";
    let ended = false;
    started.stderr.on("data", (chunk) => {
      log = (log + chunk).slice(-4_000);
    });
    started.once("close", () => {
      ended = true;
    });
    await until(() => ended || log.includes("Server is ready")).catch(() => {});
    if (log.includes("Server is ready")) return;
    started.kill("SIGKILL");
    throw new Error(`nats-server did not start:\n${log}`);
  };
  const startFirst = async (): Promise<void> => {
    for (let tries = 1; ; tries++) {
      try {
        return await start();
      } catch (error) {
        if (tries === TRIES || !String(error).includes("address already in use")) throw error;
        port = await freePort();
      }
    }
  };
  const halt = async (hard = false): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
    const gone = new Promise((resolve) => running.once("exit", resolve));
    running.kill(hard ? "SIGKILL" : "SIGTERM");
    await gone;
  };

  await startFirst();
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    halt,
    resume: start,
    stop: async () => {
      await halt(true);
      if (existsSync(folder)) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Runs the real `nats` CLI against a server; resolves with what it printed and its exit code. */
export async function runNatsCli(
  server: NatsServer,
  args: readonly string[],
  login: readonly string[] = [],
): Promise<{ readonly code: number; readonly output: string }> {
  const binary = (await findNats()).cli;
  if (binary === undefined) throw new Error("there is no nats CLI: run `node scripts/nats.mjs`");
  const child = spawn(binary, ["--server", server.url, ...login, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk) => (output += chunk));
  child.stderr.on("data", (chunk) => (output += chunk));
  const code = await new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (exit) => resolve(exit ?? 1));
  });
  return { code, output };
}
