// Signals to the real gateway: what is under way is finished, tunnels last, and a worker that hangs takes nobody else along.
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type net from "node:net";
import { join } from "node:path";
import process from "node:process";
import { parseExposition } from "../kit/exposition.ts";
import { TEST_MS } from "../kit/patience.ts";
import { connectRaw, okText, type RawConnection, type RawUpstream, startRawUpstream } from "../kit/raw.ts";
import { freePort, newFolder, type RunningProgram, startSelvedge, until } from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const UPGRADE = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n";

/** Echoes in tunnels; answers a request when `release` is called. */
async function startHolding(): Promise<{ upstream: RawUpstream; held: net.Socket[] }> {
  const held: net.Socket[] = [];
  const upstream = await startRawUpstream((socket) => {
    let tunnel = false;
    socket.on("data", (chunk) => {
      if (tunnel) socket.write(chunk);
      else if (chunk.includes("upgrade: websocket")) {
        tunnel = true;
        socket.write("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
      } else if (chunk.includes("GET /hold")) held.push(socket);
      else socket.write(okText("ok"));
    });
    socket.on("end", () => socket.end());
  });
  cleanups.push(() => upstream.stop());
  return { upstream, held };
}

interface Worker {
  readonly pid: number;
  readonly running: boolean;
  readonly replaced: number;
  readonly revision: number;
  readonly dataPlane: { readonly listeners: readonly { readonly connections: number }[] } | undefined;
}

async function startGateway(
  upstream: number,
): Promise<{ program: RunningProgram; port: number; admin: string; workers(): Promise<readonly Worker[]> }> {
  const [folder, port, adminPort] = [newFolder(), await freePort(), await freePort()];
  cleanups.push(folder.remove);
  const file = join(folder.path, "gateway.yaml");
  writeFileSync(
    file,
    `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ backends: [up], upgrades: [websocket] }] }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: up }
spec: { endpoints: ["127.0.0.1:${upstream}"] }
`,
  );
  const program = startSelvedge(["proxy", "-f", file, "--workers", "2", "--admin", `127.0.0.1:${adminPort}`]);
  cleanups.push(async () => {
    program.child.kill("SIGKILL");
    await program.finished;
  });
  await program.saw("selvedge proxy");
  const admin = `http://127.0.0.1:${adminPort}`;
  const workers = async (): Promise<readonly Worker[]> => {
    const status = (await (await fetch(`${admin}/status`)).json()) as { workers: readonly Worker[] };
    return status.workers;
  };
  return { program, port, admin, workers };
}

const openAll = async (port: number, count: number, text: string): Promise<RawConnection[]> => {
  const connections = await Promise.all(Array.from({ length: count }, () => connectRaw(port)));
  for (const connection of connections) {
    connection.send(text);
    cleanups.push(() => connection.destroy());
  }
  return connections;
};

test(
  "SIGTERM: not ready, no new connections, idle ones close, exchanges finish, tunnels last, nothing is left",
  async () => {
    const { upstream, held } = await startHolding();
    const { program, port, admin, workers } = await startGateway(upstream.port);
    const tunnels = await openAll(port, 4, UPGRADE);
    for (const tunnel of tunnels) await tunnel.until("101");
    const idle = await openAll(port, 8, GET);
    for (const connection of idle) await connection.until("ok");
    const busy = await openAll(port, 8, GET.replace("/", "/hold"));
    await until(() => held.length === 8);
    const pids = (await workers()).map(({ pid }) => pid);

    program.child.kill("SIGTERM");
    await until(async () => (await fetch(`${admin}/readyz`)).status === 503);
    for (const connection of idle) await connection.closed();
    // Listeners close in each worker by itself.
    await until(async () =>
      (await Promise.allSettled(Array.from({ length: 4 }, () => connectRaw(port).then((made) => made.destroy())))).every(
        ({ status }) => status === "rejected",
      ),
    );
    expect(busy.some((connection) => connection.isClosed || connection.heard !== "")).toBe(false);
    for (const socket of held) socket.write(okText("finished"));
    for (const connection of busy) {
      const heard = await connection.closed();
      expect(heard).toStartWith("HTTP/1.1 200");
      expect(heard).toMatch(/connection: close\r\n/i);
      expect(heard).toEndWith("finished");
    }
    for (const tunnel of tunnels) {
      tunnel.send("still here");
      await tunnel.until("still here");
      tunnel.end();
      await tunnel.closed();
    }
    expect((await program.finished).code).toBe(0);
    for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
  },
  TEST_MS,
);

test(
  "a worker that hangs is killed and replaced; the other one's connections notice nothing",
  async () => {
    const { upstream } = await startHolding();
    const { port, admin, workers } = await startGateway(upstream.port);
    const connections = await openAll(port, 40, GET);
    for (const connection of connections) await connection.until("ok");
    const connectionsOf = (worker: Worker | undefined): number => worker?.dataPlane?.listeners[0]?.connections ?? 0;
    let [hung, other] = await workers();
    // A worker that is late tells what it knew before.
    await until(async () => {
      [hung, other] = await workers();
      return connectionsOf(hung) + connectionsOf(other) === 40;
    });
    const own = connectionsOf(hung);
    expect(own).toBeGreaterThan(0);
    process.kill(hung?.pid ?? 0, "SIGSTOP");
    await until(async () => {
      const [now] = await workers();
      return now?.pid !== hung?.pid && now?.running === true && now.revision === hung?.revision;
    });
    await until(() => connections.filter((connection) => connection.isClosed).length >= own);
    const alive = connections.filter((connection) => !connection.isClosed);
    expect(alive.length).toBe(40 - own);
    for (const connection of alive) {
      const before = connection.heard.length;
      connection.send(GET);
      await connection.when((heard) => heard.length === before * 2);
    }
    for (const connection of await openAll(port, 20, GET)) expect(await connection.until("ok")).toStartWith("HTTP/1.1 200");
    const metrics = parseExposition(await (await fetch(`${admin}/metrics`)).text());
    expect(metrics.get("selvedge_worker_exits_total")?.samples).toMatchObject([{ labels: { reason: "hung" }, value: 1 }]);
  },
  TEST_MS,
);
