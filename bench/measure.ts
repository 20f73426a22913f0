import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Contender } from "./peers.ts";

/** Clock ticks of /proc/PID/stat per second on Linux. */
const TICKS_PER_SECOND = 100;

export interface Running {
  readonly contender: Contender;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** Starts a proxy, on these cores only when given, and waits until it accepts. */
export async function startContender(contender: Contender, cores?: string): Promise<Running> {
  const [command, ...args] = pinned(cores, contender.command);
  const child = spawn(command as string, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...contender.env },
  });
  let errors = "";
  child.stderr?.on("data", (chunk) => {
    errors = (errors + chunk).slice(-2_000);
  });
  for (let i = 0; !(await accepts(contender.port)); i++) {
    if (i > 300 || child.exitCode !== null) throw new Error(`${contender.name} did not start: ${errors}`);
    await sleep(50);
  }
  return {
    contender,
    child,
    stop: () =>
      new Promise((resolve) => {
        if (child.exitCode !== null) return resolve();
        child.once("exit", () => resolve());
        child.kill("SIGTERM");
        setTimeout(() => child.kill("SIGKILL"), 3_000).unref();
      }),
  };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** A process and all its children. */
function treeOf(pid: number): number[] {
  const children: number[] = [];
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const text = readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim();
    if (text !== "") children.push(...text.split(" ").map(Number));
  }
  return [pid, ...children.flatMap(treeOf)];
}

/** Processor time, in seconds. */
export interface ProcessorSeconds {
  readonly user: number;
  readonly system: number;
}

/** Processor time of a process tree so far. */
export function processorSeconds(pid: number): ProcessorSeconds {
  const ticks = { user: 0, system: 0 };
  for (const each of treeOf(pid)) {
    const fields = readFileSync(`/proc/${each}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    ticks.user += Number(fields[11]);
    ticks.system += Number(fields[12]);
  }
  return { user: ticks.user / TICKS_PER_SECOND, system: ticks.system / TICKS_PER_SECOND };
}

/** Runs a command on these cores only (`taskset`); undefined: wherever the kernel likes. */
export const pinned = (cores: string | undefined, command: readonly string[]): readonly string[] =>
  cores === undefined ? command : ["taskset", "-c", cores, ...command];

/** What every report says of where and when it was made. */
export function describeMachine(): { readonly date: string; readonly machine: string } {
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${cpus()[0]?.model ?? "?"}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${process.arch}`,
  };
}

/** Resident megabytes of a process tree (shared pages counted once per process). */
export function residentMegabytes(pid: number): number {
  let kilobytes = 0;
  for (const each of treeOf(pid))
    kilobytes += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${each}/status`, "utf8"))?.[1] ?? 0);
  return kilobytes / 1024;
}

export interface Load {
  readonly requests: number;
  readonly failed: number;
  readonly requestsPerSecond: number;
}

/** As fast as it goes for so long: one wrk thread. */
export async function loadFull(contender: Contender, connections: number, seconds: number, cores?: string): Promise<Load> {
  const load = new PausedLoad(contender, connections, cores);
  await load.run(seconds);
  return load.end();
}

/** As fast as it goes, one wrk thread, but only while `run` lasts: in between it is stopped, with its connections open. */
export class PausedLoad {
  readonly #wrk: ChildProcess;
  readonly #output: Promise<string>;
  #seconds = 0;

  constructor(contender: Contender, connections: number, cores?: string) {
    const url = `${contender.scheme}://127.0.0.1:${contender.port}/`;
    const [command, ...args] = pinned(cores, ["wrk", "-t1", `-c${connections}`, "-d3600s", "--timeout", "60s", url]);
    this.#wrk = spawn(command as string, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#wrk.kill("SIGSTOP");
    this.#output = new Promise((resolve, reject) => {
      let output = "";
      this.#wrk.stdout?.on("data", (chunk) => {
        output += chunk;
      });
      this.#wrk.once("error", reject);
      this.#wrk.once("close", () => resolve(output));
    });
  }

  async run(seconds: number): Promise<void> {
    const start = performance.now();
    this.#wrk.kill("SIGCONT");
    await sleep(seconds * 1000);
    this.#wrk.kill("SIGSTOP");
    this.#seconds += (performance.now() - start) / 1000;
  }

  /** Ends the load; what it did in all. */
  async end(): Promise<Load> {
    this.#wrk.kill("SIGCONT");
    // Again and again: an interrupt that a thread other than the main one takes does not end wrk's sleep.
    const interrupt = setInterval(() => this.#wrk.kill("SIGINT"), 20);
    const output = await this.#output.finally(() => clearInterval(interrupt));
    const errors = [...output.matchAll(/(connect|read|write|timeout) (\d+)/g)].reduce((sum, match) => sum + Number(match[2]), 0);
    const bad = Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0);
    const requests = Number(/(\d+) requests in/.exec(output)?.[1] ?? 0);
    if (requests === 0) throw new Error(`wrk counted no request: ${output}`);
    return { requests, failed: errors + bad, requestsPerSecond: requests / this.#seconds };
  }
}

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Latency at a fixed rate (h2load's own pacing), from its per-request log. */
export function measureLatency(
  contender: Contender,
  rate: number,
  seconds: number,
  folder: string,
  cores?: string,
): Promise<Latency> {
  const connections = 16;
  const log = join(folder, `latency-${contender.name}-${contender.port}.log`);
  const url = `${contender.scheme}://127.0.0.1:${contender.port}/`;
  const pace = [`-c${connections}`, `--rps=${Math.max(1, Math.round(rate / connections))}`, `-D${seconds}`];
  const [command, ...args] = pinned(cores, ["h2load", "--h1", "-t1", ...pace, `--log-file=${log}`, url]);
  return new Promise((resolve, reject) => {
    const load = spawn(command as string, args, { stdio: "ignore" });
    load.once("error", reject);
    load.once("close", () => {
      const lines = readFileSync(log, "utf8").split("\n");
      rmSync(log, { force: true });
      const times = lines.map((line) => Number(line.split("\t")[2])).filter((micros) => micros > 0);
      times.sort((a, b) => a - b);
      const at = (share: number): number => (times[Math.floor(times.length * share)] ?? Number.NaN) / 1000;
      resolve({ p50Ms: at(0.5), p99Ms: at(0.99) });
    });
  });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
