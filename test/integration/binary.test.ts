// The single executable, as somebody gets it: in an empty folder with nothing but a configuration file.
import { afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { sha256Digest } from "../../src/config/canonical.ts";
import { TRIAL_LIMITS } from "../../src/core/limits.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, isAlive, newFolder, type RunningProgram, startProgram, until } from "../kit/selvedge.ts";
import { ROUND_FUEL, slowStart } from "../kit/slow-start.ts";

const ROOT = join(import.meta.dir, "..", "..");
const PROGRAM = join(ROOT, "dist", "selvedge");
const BUILD_MS = 2 * TEST_MS;
const LIMIT = 5;

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

beforeAll(async () => {
  const { code, out, error } = await startProgram("node", [join(ROOT, "scripts", "build-binary.mjs")], {}).finished;
  if (code !== 0) throw new Error(`the executable was not built:\n${out}${error}`);
}, BUILD_MS);

/** Nothing of the checkout and no other program can help: an empty folder, no PATH, no home. */
function start(folder: string, args: readonly string[]): RunningProgram {
  const program = startProgram(PROGRAM, args, { env: { HOME: folder, NO_COLOR: "1" }, cwd: folder });
  cleanups.push(async () => {
    program.child.kill("SIGKILL");
    await program.finished;
  });
  return program;
}

function emptyFolder(): string {
  const made = newFolder();
  cleanups.push(made.remove);
  return made.path;
}

async function startUpstream(): Promise<number> {
  const server = createServer((_, response) => response.end("from the upstream")).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

const apiVersion = "selvedge.dev/v1";

/** Of a process that may be gone: then "". */
function procFile(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return "";
  }
}

const childrenOf = (pid: number): number[] =>
  readdirSync(`/proc/${pid}/task`)
    .flatMap((thread) => procFile(pid, `task/${thread}/children`).split(" "))
    .filter((child) => child !== "")
    .map(Number);

const configOf = (port: number, upstream: number, header: string): string => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: limit }
spec:
  module: { builtin: rate-limit }
  settings: { limits: [{ name: all, requests: ${LIMIT}, per: hour, key: [clientIp] }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: shop }
spec:
  rules:
    - { matches: [{ path: { prefix: /limited } }], backends: [shop], filters: [limit] }
    - { matches: [{ path: { exact: /version } }], respond: { body: ${header} } }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: shop }
spec: { endpoints: ["127.0.0.1:${upstream}"] }
`;

describe("the single executable", () => {
  test(
    "version, help and validate",
    async () => {
      const folder = emptyFolder();
      const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
      const said = await start(folder, ["version"]).finished;
      expect([said.code, said.error, said.out.includes(version)]).toEqual([0, "", true]);
      expect((await start(folder, ["help"]).finished).out).toContain("proxy");
      writeFileSync(join(folder, "config.yaml"), configOf(8080, 9000, "one"));
      const good = await start(folder, ["validate", "-f", "config.yaml"]).finished;
      expect([good.code, good.out]).toEqual([0, "✓ 4 resources are valid\n"]);
      writeFileSync(join(folder, "config.yaml"), configOf(8080, 9000, "one").replace("per: hour", "per: fortnight"));
      const bad = await start(folder, ["validate", "-f", "config.yaml"]).finished;
      expect(bad.code).toBe(1);
      expect(bad.error + bad.out).toContain("config.yaml:11");
    },
    TEST_MS,
  );

  test(
    "proxies with two workers, limits exactly, reloads, tells its health, and SIGTERM ends every process",
    async () => {
      const [folder, port, admin] = [emptyFolder(), await freePort(), await freePort()];
      const upstream = await startUpstream();
      const config = join(folder, "config.yaml");
      writeFileSync(config, configOf(port, upstream, "one"));
      // Settings of whoever works in the folder are none of ours.
      writeFileSync(join(folder, ".env"), "SELVEDGE_WORKERS=7\nSELVEDGE_LOG_LEVEL=nonsense\n");
      const address = `127.0.0.1:${admin}`;
      const proxy = start(folder, ["proxy", "-f", "config.yaml", "--workers", "2", "--admin", address]);
      await proxy.saw("selvedge proxy");

      const statuses: number[] = [];
      for (let i = 0; i < LIMIT + 3; i++) {
        // A connection each, so that both workers count.
        const response = await fetch(`http://127.0.0.1:${port}/limited`, { headers: { connection: "close" } });
        statuses.push(response.status);
        const body = await response.text();
        if (response.status === 200) expect(body).toBe("from the upstream");
      }
      expect(statuses).toEqual([...Array(LIMIT).fill(200), 429, 429, 429]);

      const health = await start(folder, ["health", "--ready", "--admin", address, "--listen", "off"]).finished;
      expect([health.code, health.out]).toEqual([0, `proxy: ready (http://${address}/readyz)\n`]);
      const nobody = `127.0.0.1:${await freePort()}`;
      expect((await start(folder, ["health", "--admin", nobody, "--listen", "off"]).finished).code).toBe(3);

      writeFileSync(config, configOf(port, upstream, "two"));
      await until(async () => (await (await fetch(`http://127.0.0.1:${port}/version`)).text()) === "two");

      const status = (await (await fetch(`http://${address}/status`)).json()) as { workers: { pid: number }[] };
      expect(status.workers).toHaveLength(2);
      proxy.child.kill("SIGTERM");
      expect((await proxy.finished).code).toBe(0);
      expect(status.workers.filter(({ pid }) => isAlive(pid))).toEqual([]);
      await expect(fetch(`http://127.0.0.1:${port}/version`)).rejects.toThrow();
      expect(readdirSync(folder).sort()).toEqual([".env", "config.yaml"]);
    },
    TEST_MS,
  );

  test(
    "runs a control plane and a gateway without NATS and without anything else",
    async () => {
      const folder = emptyFolder();
      const ports = { http: await freePort(), https: await freePort(), admin: await freePort(), listen: await freePort() };
      const up = start(folder, [
        ...["up", "--demo", "--nats", "off", "--workers", "1", "--http", `${ports.http}`, "--https", `${ports.https}`],
        ...["--admin", `127.0.0.1:${ports.admin}`, "--listen", `127.0.0.1:${ports.listen}`],
      ]);
      await up.saw("Ctrl-C stops everything");
      expect((await fetch(`http://127.0.0.1:${ports.http}/echo`)).headers.get("x-served-by")).toBe("selvedge");
      const status = await start(folder, ["status", "--server", `http://127.0.0.1:${ports.listen}`]).finished;
      expect([status.code, status.out.includes("gateway-1")]).toEqual([0, true]);
      // A filter that is costly to start is tried in a process of its own, which is this executable as well.
      const module = slowStart(Math.ceil((2 * TRIAL_LIMITS.hereFuel) / ROUND_FUEL));
      writeFileSync(join(folder, "slow.wasm"), module);
      const server = ["--server", `http://127.0.0.1:${ports.listen}`];
      expect((await start(folder, ["filter", "push", "slow.wasm", ...server]).finished).code).toBe(0);
      const spec = { module: { digest: sha256Digest(module) } };
      writeFileSync(join(folder, "slow.yaml"), JSON.stringify({ apiVersion, kind: "Filter", metadata: { name: "slow" }, spec }));
      const applied = start(folder, ["apply", "-f", "slow.yaml", ...server]).finished;
      const isTrial = (pid: number): boolean =>
        procFile(pid, "environ").includes("\0SELVEDGE_TRIAL=") && procFile(pid, "oom_score_adj").trim() === "1000";
      // It is there for a while after the answer.
      let trials: number[] = [];
      await until(() => {
        trials = childrenOf(up.child.pid ?? 0).filter(isTrial);
        return trials.length === 1;
      });
      expect((await applied).error).toBe("");
      expect((await applied).code).toBe(0);
      process.kill(up.child.pid ?? 0, "SIGINT");
      expect((await up.finished).code).toBe(0);
      await until(() => !trials.some(isAlive));
    },
    TEST_MS,
  );
});
