import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { connect as connectSocket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { type NatsServer, startNats } from "../test/kit/nats.ts";
import { freePort, type RunningProgram, startSelvedge, until } from "../test/kit/selvedge.ts";

/** The real parts for benches of configuration: nats-server, a control plane and proxies, each a process of its own. */

export interface ProxyProcess {
  readonly id: string;
  readonly program: RunningProgram;
  readonly adminPort: number;
}

export interface World {
  readonly nats: NatsServer;
  readonly client: NatsConnection;
  readonly control: RunningProgram;
  readonly proxies: readonly ProxyProcess[];
  /** Applies resources by a request; resolves with the revision. Throws when they are refused. */
  apply(text: string): Promise<number>;
  /** Resolves with when (performance.now) the acknowledgement of the last proxy came: each has applied the revision. */
  applied(revision: number): Promise<number>;
  stop(): Promise<void>;
}

interface Waiter {
  readonly revision: number;
  readonly missing: Set<string>;
  readonly resolve: (atMs: number) => void;
  readonly reject: (error: Error) => void;
}

const APPLY_MS = 60_000;
const WAIT_MS = 60_000;

/** Notes when proxies say what they serve: on selvedge.proxy.<id>.status, as it arrives here. */
class AckWatch {
  readonly #revisions = new Map<string, number>();
  readonly #waiters = new Set<Waiter>();

  constructor(
    readonly client: NatsConnection,
    readonly ids: readonly string[],
  ) {
    client.subscribe("selvedge.proxy.*.status", {
      callback: (_, message) => {
        const nowMs = performance.now();
        const said = message.json<{ id: string; revision: number; rejectedRevision: number; issues: unknown }>();
        this.#revisions.set(said.id, said.revision);
        for (const waiter of this.#waiters) this.#settle(waiter, said, nowMs);
      },
    });
  }

  #settle(
    waiter: Waiter,
    said: { id: string; revision: number; rejectedRevision: number; issues: unknown },
    nowMs: number,
  ): void {
    if (said.rejectedRevision >= waiter.revision) waiter.reject(new Error(`${said.id} refused: ${JSON.stringify(said.issues)}`));
    if (said.revision >= waiter.revision) waiter.missing.delete(said.id);
    if (waiter.missing.size > 0) return;
    this.#waiters.delete(waiter);
    waiter.resolve(nowMs);
  }

  wait(revision: number): Promise<number> {
    const missing = new Set(this.ids.filter((id) => (this.#revisions.get(id) ?? 0) < revision));
    if (missing.size === 0) return Promise.resolve(performance.now());
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`revision ${revision} is not served by ${[...missing].join(", ")}`)),
        WAIT_MS,
      );
      const waiter: Waiter = {
        revision,
        missing,
        resolve: (atMs) => {
          clearTimeout(late);
          resolve(atMs);
        },
        reject: (error) => {
          clearTimeout(late);
          reject(error);
        },
      };
      this.#waiters.add(waiter);
    });
  }
}

/** Starts everything; `count` proxies with these arguments besides address, id and admin port. */
export async function startWorld(count: number, proxyArguments: readonly string[]): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-world-"));
  const nats = await startNats();
  const apiPort = await freePort();
  const control = startSelvedge(["control", "--nats", nats.url, "--listen", `127.0.0.1:${apiPort}`, "--log-level", "warn"]);
  const ids = Array.from({ length: count }, (_, i) => `bench-${i}`);
  const proxies: ProxyProcess[] = [];
  for (const id of ids) {
    const adminPort = await freePort();
    const own = ["--id", id, "--admin", `127.0.0.1:${adminPort}`, "--cache-dir", join(folder, id), "--log-level", "warn"];
    proxies.push({ id, adminPort, program: startSelvedge(["proxy", "--nats", nats.url, ...own, ...proxyArguments]) });
  }
  const client = await connect({ servers: nats.url });
  const acks = new AckWatch(client, ids);
  const world: World = {
    ...{ nats, client, control, proxies },
    async apply(text) {
      const answer = await client.request("selvedge.config.apply", text, { timeout: APPLY_MS });
      const said = answer.json<{ ok: boolean; revision?: number }>();
      if (!said.ok || said.revision === undefined) throw new Error(`refused: ${answer.string().slice(0, 2_000)}`);
      return said.revision;
    },
    applied: (revision) => acks.wait(revision),
    async stop() {
      await client.close();
      for (const { child } of [control, ...proxies.map((each) => each.program)]) child.kill("SIGTERM");
      const late = setTimeout(() => {
        for (const { program } of proxies) program.child.kill("SIGKILL");
      }, 20_000);
      await Promise.all([control, ...proxies.map((each) => each.program)].map((program) => program.finished));
      clearTimeout(late);
      await nats.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  await until(() =>
    client.request("selvedge.config.get", "", { timeout: 500 }).then(
      () => true,
      () => false,
    ),
  );
  return world;
}

/** Of /proc/<pid>/stat: 100 in a second on every Linux. */
const TICK_MS = 10;

/** Processor time of a process and all its children so far, in ms, with that of threads that have ended; exact to 10 ms (Linux). */
export function processorMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold anything; user and system time are the 14th and 15th field.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const ownMs = (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  return ownMs + childrenOf(pid).reduce((sum, child) => sum + processorMs(child), 0);
}

/** Processor time in ms of the threads with this name that live now, by id, in a process and its children; exact to the nanosecond. */
export function threadsMs(pid: number, name: string): Map<number, number> {
  const found = new Map<number, number>();
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${task}`;
    try {
      if (readFileSync(`${folder}/comm`, "utf8").trim() !== name) continue;
      found.set(Number(task), Number(readFileSync(`${folder}/schedstat`, "utf8").split(" ")[0]) / 1e6);
    } catch (error) {
      // It ended while we looked.
      if (existsSync(folder)) throw error;
    }
  }
  for (const child of childrenOf(pid)) for (const [task, ms] of threadsMs(child, name)) found.set(task, ms);
  return found;
}

/** Processes that this one started. */
export function childrenOf(pid: number): number[] {
  const text = readdirSync(`/proc/${pid}/task`).map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim());
  return text.filter((each) => each !== "").flatMap((each) => each.split(" ").map(Number));
}

/** Memory of one process, in MB (2^20). `resident` counts shared pages whole, `proportional` by the number of processes. */
export interface Memory {
  readonly resident: number;
  readonly proportional: number;
  readonly anonymous: number;
}

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const read = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1024;
  return { resident: read("Rss"), proportional: read("Pss"), anonymous: read("Anonymous") };
}

/** Asks by a new connection; resolves with the whole answer. */
export function askOnce(port: number, host: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
    let heard = "";
    socket.on("connect", () => void socket.write(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`));
    socket.on("data", (chunk) => {
      heard += chunk.toString("latin1");
    });
    socket.once("error", reject);
    socket.once("close", () => resolve(heard));
  });
}
