import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import type { Contender } from "./peers.ts";

/** Clock ticks of /proc/PID/stat per second on Linux. */
const TICKS_PER_SECOND = 100;

export interface Running {
  readonly contender: Contender;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

/** Starts a proxy and waits until it accepts. */
export async function startContender(contender: Contender): Promise<Running> {
  const [command, ...args] = contender.command;
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

/** CPU seconds (user and system) of a process tree so far. */
export function cpuSeconds(pid: number): number {
  let ticks = 0;
  for (const each of treeOf(pid)) {
    const fields = readFileSync(`/proc/${each}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
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

/** As fast as it goes: one wrk thread. */
export function loadFull(contender: Contender, connections: number, seconds: number): Promise<Load> {
  const url = `${contender.scheme}://127.0.0.1:${contender.port}/`;
  return new Promise((resolve, reject) => {
    const wrk = spawn("wrk", ["-t1", `-c${connections}`, `-d${seconds}s`, url], { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    wrk.stdout.on("data", (chunk) => {
      output += chunk;
    });
    wrk.once("error", reject);
    wrk.once("close", () => {
      const errors = [...output.matchAll(/(connect|read|write|timeout) (\d+)/g)].reduce(
        (sum, match) => sum + Number(match[2]),
        0,
      );
      const bad = Number(/Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? 0);
      resolve({
        requests: Number(/(\d+) requests in/.exec(output)?.[1] ?? 0),
        failed: errors + bad,
        requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? 0),
      });
    });
  });
}

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Latency at a fixed rate (h2load's own pacing), from its per-request log. */
export function measureLatency(contender: Contender, rate: number, seconds: number, folder: string): Latency {
  const connections = 16;
  const log = join(folder, `latency-${contender.name}-${contender.port}.log`);
  const url = `${contender.scheme}://127.0.0.1:${contender.port}/`;
  spawnSync(
    "h2load",
    [
      "--h1",
      "-t1",
      `-c${connections}`,
      `--rps=${Math.max(1, Math.round(rate / connections))}`,
      `-D${seconds}`,
      `--log-file=${log}`,
      url,
    ],
    { stdio: "ignore" },
  );
  const times = readFileSync(log, "utf8")
    .split("\n")
    .map((line) => Number(line.split("\t")[2]))
    .filter((micros) => micros > 0)
    .sort((a, b) => a - b);
  rmSync(log, { force: true });
  const at = (share: number): number => (times[Math.floor(times.length * share)] ?? Number.NaN) / 1000;
  return { p50Ms: at(0.5), p99Ms: at(0.99) };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
