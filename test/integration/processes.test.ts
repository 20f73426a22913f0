// The real program in real processes: up, proxy, their workers, their signals, and what is left behind (nothing).
import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { findNats } from "../../scripts/nats.mjs";
import { parseExposition } from "../kit/exposition.ts";
import { TEST_MS } from "../kit/patience.ts";
import {
  freePort,
  isAlive,
  newFolder,
  type RunningProgram,
  runSelvedge,
  sharedFoldersIn,
  startSelvedge,
  until,
} from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const made = newFolder();
  cleanups.push(made.remove);
  return made.path;
}

function start(args: readonly string[], env?: Record<string, string>): RunningProgram {
  const program = startSelvedge(args, env);
  cleanups.push(async () => {
    program.child.kill("SIGKILL");
    await program.finished;
  });
  return program;
}

const gateway = (port: number, body: string, extra = ""): string => `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ respond: { body: ${body} } }] }
${extra}`;

interface Status {
  readonly ready: boolean;
  readonly appliedRevision: number;
  readonly issues: readonly { readonly code: string }[];
  readonly workers: readonly {
    readonly pid: number;
    readonly running: boolean;
    readonly revision: number;
    readonly replaced: number;
  }[];
}

const statusOf = async (admin: number): Promise<Status> =>
  (await fetch(`http://127.0.0.1:${admin}/status`)).json() as Promise<Status>;
const bodyOf = async (port: number, path = "/"): Promise<string> => (await fetch(`http://127.0.0.1:${port}${path}`)).text();
/** The folders with shared memory of these workers, where /proc says so (Linux). */
const sharedFoldersOf = ({ workers }: Status): string[] =>
  workers.flatMap(({ pid }) => {
    const path = `/proc/${pid}/environ`;
    if (!existsSync(path)) return [];
    return sharedFoldersIn(readFileSync(path, "utf8"));
  });

describe("selvedge proxy -f", () => {
  test(
    "workers share the port, a killed one is replaced, files are watched, logs reopened, SIGTERM leaves nothing behind",
    async () => {
      const [path, port, admin] = [folder(), await freePort(), await freePort()];
      const [config, log] = [join(path, "gateway.yaml"), join(path, "access.log")];
      const mesh = `---\napiVersion: selvedge.dev/v1\nkind: Mesh\nmetadata: { name: mesh }\nspec: { accessLog: { path: ${log} } }\n`;
      writeFileSync(config, gateway(port, "one", mesh));
      const program = start(["proxy", "-f", config, "--workers", "2", "--admin", `127.0.0.1:${admin}`]);
      await program.saw("selvedge proxy");
      expect(await bodyOf(port)).toBe("one");
      const first = await statusOf(admin);
      const shared = sharedFoldersOf(first);
      expect(shared.length).toBe(process.platform === "linux" ? 2 : 0);
      expect(first.ready).toBe(true);
      expect(first.workers.map(({ revision }) => revision)).toEqual([1, 1]);

      process.kill(first.workers[0]?.pid ?? 0, "SIGKILL");
      await until(async () => (await statusOf(admin)).workers[0]?.replaced === 1);
      await until(async () => (await statusOf(admin)).workers[0]?.revision === 1);
      for (let i = 0; i < 20; i++) expect(await bodyOf(port)).toBe("one");

      writeFileSync(config, gateway(port, "two", mesh));
      await until(async () => (await statusOf(admin)).appliedRevision === 2);
      expect(await bodyOf(port)).toBe("two");
      writeFileSync(config, gateway(port, "[three"));
      await program.saw("yaml_syntax");
      expect(await bodyOf(port)).toBe("two");
      expect((await statusOf(admin)).issues[0]?.code).toBe("yaml_syntax");
      writeFileSync(config, gateway(port, "two", mesh));
      await until(async () => (await statusOf(admin)).issues.length === 0);

      await until(() => existsSync(log) && readFileSync(log, "utf8").includes('"status":200'));
      renameSync(log, `${log}.1`);
      program.child.kill("SIGHUP");
      await until(() => existsSync(log));
      // Each worker opens it by itself, and answers before it has written.
      await until(async () => (await bodyOf(port, "/after")) === "two" && readFileSync(log, "utf8").includes("/after"));

      let metrics: ReturnType<typeof parseExposition> = new Map();
      await until(async () => {
        metrics = parseExposition(await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text());
        const served = metrics.get("selvedge_requests_total")?.samples.reduce((sum, { value }) => sum + value, 0) ?? 0;
        return served >= 22;
      });
      expect(metrics.get("selvedge_worker_exits_total")?.samples[0]).toMatchObject({ labels: { reason: "crashed" }, value: 1 });
      const { events } = (await (await fetch(`http://127.0.0.1:${admin}/events`)).json()) as { events: unknown[] };
      const applies = metrics.get("selvedge_config_applies_total")?.samples ?? [];
      expect(applies.filter(({ labels }) => labels.result === "rejected").map(({ value }) => value > 0)).toEqual([true]);
      expect(events).toEqual([
        expect.objectContaining({
          kind: "snapshot_refused",
          subject: "configuration files",
          reason: expect.stringContaining("yaml_syntax"),
        }),
        expect.objectContaining({
          kind: "worker_replaced",
          subject: "worker 0",
          reason: expect.stringContaining("SIGKILL"),
          count: 1,
        }),
      ]);

      const { workers } = await statusOf(admin);
      program.child.kill("SIGTERM");
      expect((await program.finished).code).toBe(0);
      expect(workers.filter(({ pid }) => isAlive(pid))).toEqual([]);
      expect(shared.filter((path) => existsSync(path))).toEqual([]);
    },
    TEST_MS,
  );

  test(
    "workers end by themselves when the supervisor is killed",
    async () => {
      const [path, port, admin] = [folder(), await freePort(), await freePort()];
      writeFileSync(join(path, "g.yaml"), gateway(port, "x"));
      const program = start(["proxy", "-f", path, "--workers", "2", "--admin", `127.0.0.1:${admin}`]);
      await program.saw("selvedge proxy");
      const status = await statusOf(admin);
      const { workers } = status;
      const shared = sharedFoldersOf(status);
      expect(shared.length).toBe(process.platform === "linux" ? 2 : 0);
      program.child.kill("SIGKILL");
      await until(() => workers.every(({ pid }) => !isAlive(pid)));
      expect(shared.filter((path) => existsSync(path))).toEqual([]);
    },
    TEST_MS,
  );

  test(
    "a second SIGTERM stops at once, also with a request under way",
    async () => {
      const [path, port, upstream] = [folder(), await freePort(), await freePort()];
      const silent = createServer(() => {}).listen(upstream, "127.0.0.1");
      cleanups.push(() => void silent.close());
      const yaml = gateway(port, "x").replace("respond: { body: x }", "backends: [silent]");
      writeFileSync(
        join(path, "g.yaml"),
        `${yaml}---\napiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: silent }\nspec: { endpoints: ["127.0.0.1:${upstream}"] }\n`,
      );
      const program = start(["proxy", "-f", path, "--workers", "1", "--admin", "off"]);
      await program.saw("selvedge proxy");
      const pending = fetch(`http://127.0.0.1:${port}/broken-off`).catch(() => "broken off");
      await until(
        async () => (await new Promise<number>((resolve) => silent.getConnections((_, count) => resolve(count)))) === 1,
      );
      program.child.kill("SIGTERM");
      await program.saw("draining");
      // At once it would be the same one again.
      const again = setInterval(() => program.child.kill("SIGTERM"), 200);
      expect((await program.finished).code).toBe(0);
      clearInterval(again);
      expect(await pending).toBe("broken off");
      // Also what was broken off stands in the access log.
      expect(program.out()).toContain('"path":"/broken-off"');
    },
    TEST_MS,
  );

  test(
    "a port in use is named, with the way out",
    async () => {
      const [path, port, admin] = [folder(), await freePort(), await freePort()];
      writeFileSync(join(path, "g.yaml"), gateway(port, "x"));
      const first = start(["proxy", "-f", path, "--workers", "1", "--admin", `127.0.0.1:${admin}`]);
      await first.saw("selvedge proxy");
      // Workers share ports: the same one a second time must still be refused.
      const second = await runSelvedge(["proxy", "-f", path, "--workers", "1", "--admin", "off"]);
      expect(second.code).toBe(1);
      expect(second.error).toContain(`port ${port} on 127.0.0.1 is in use`);
      expect([second.error.includes("nothing is served yet"), second.error.includes("what served before")]).toEqual([
        true,
        false,
      ]);
      const third = await runSelvedge(["proxy", "-f", path, "--workers", "1", "--admin", `127.0.0.1:${admin}`]);
      expect(third.code).toBe(1);
      expect(third.error).toContain(`port ${admin} on 127.0.0.1 is in use`);
      expect(third.error).toContain("--admin");
      // A file that is not there is told first: no port is asked for.
      const fourth = await runSelvedge(["proxy", "-f", join(path, "none.yaml"), "--admin", `127.0.0.1:${admin}`]);
      expect([fourth.code, fourth.error]).toEqual([
        2,
        `error: cannot read ${join(path, "none.yaml")}: there is no such file or folder\n`,
      ]);
      expect((await runSelvedge(["proxy", "-f", path, "--admin", "0.0.0.0:0"])).error).toContain("--admin-token");
    },
    TEST_MS,
  );

  test(
    "a bad file at the start is refused with its place, and nothing runs on",
    async () => {
      const path = folder();
      writeFileSync(
        join(path, "g.yaml"),
        "apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: x }\nspec: { rulez: [] }\n",
      );
      const { code, error } = await runSelvedge(["proxy", "-f", join(path, "g.yaml"), "--admin", "off"]);
      expect(code).toBe(1);
      expect(error).toContain("g.yaml:4");
      expect(error).toContain("rulez");
      expect([error.includes("nothing is served yet"), error.includes("what served before")]).toEqual([true, false]);
    },
    TEST_MS,
  );
});

describe("selvedge proxy --mode sidecar", () => {
  test(
    "serves from one process",
    async () => {
      const [path, port, admin] = [folder(), await freePort(), await freePort()];
      writeFileSync(join(path, "g.yaml"), gateway(port, "side"));
      const program = start(["proxy", "-f", path, "--mode", "sidecar", "--admin", `127.0.0.1:${admin}`]);
      await program.saw("selvedge proxy");
      expect(await bodyOf(port)).toBe("side");
      const { workers } = await statusOf(admin);
      expect(workers.map(({ pid }) => pid)).toEqual([program.child.pid ?? 0]);
      const metrics = parseExposition(await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text());
      expect(metrics.get("selvedge_requests_total")?.samples[0]?.value).toBe(1);
      program.child.kill("SIGTERM");
      expect((await program.finished).code).toBe(0);
    },
    TEST_MS,
  );
});

describe("selvedge up", () => {
  async function upArguments(state: string, more: readonly string[]) {
    const [http, https, admin, listen] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const ports = [
      "--http",
      `${http}`,
      "--https",
      `${https}`,
      "--admin",
      `127.0.0.1:${admin}`,
      "--listen",
      `127.0.0.1:${listen}`,
    ];
    return { args: ["up", "--demo", "--state-dir", state, "--workers", "2", ...ports, ...more], http, https, admin, listen };
  }

  test.each(["nats", "in-process"])(
    "starts everything (%s), takes changes, stops, and has the configuration back",
    async (kind) => {
      const state = folder();
      const natsPort = await freePort();
      const nats = (await findNats()).server;
      if (nats === undefined) throw new Error("there is no nats-server: run `node scripts/nats.mjs`");
      const more = kind === "nats" ? ["--nats-listen", `127.0.0.1:${natsPort}`] : ["--nats", "off"];
      const env = { SELVEDGE_NATS_SERVER: nats };
      const first = await upArguments(state, more);
      const program = start(first.args, env);
      await program.saw("Ctrl-C stops everything");
      const server = ["--server", `http://127.0.0.1:${first.listen}`];
      const demo = await fetch(`http://127.0.0.1:${first.http}/echo?a=1`);
      expect(demo.headers.get("x-served-by")).toBe("selvedge");
      expect(await demo.json()).toMatchObject({ path: "/echo", headers: { "x-demo": "selvedge" } });
      expect((await fetch(`http://127.0.0.1:${first.http}/echo`, { method: "POST", body: "x" })).status).toBe(403);
      const secure = await fetch(`https://127.0.0.1:${first.https}/x`, { tls: { rejectUnauthorized: false } });
      expect(await secure.text()).toBe("Hello from /x\n");

      const news = join(state, "news.yaml");
      const route =
        "apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: news }\nspec: { rules: [{ matches: [{ path: { exact: /news } }], respond: { body: fresh } }] }\n";
      writeFileSync(news, route);
      expect((await runSelvedge(["diff", "-f", news, "--exit-code", ...server])).code).toBe(5);
      const applied = await runSelvedge(["apply", "-f", news, "--wait", ...server]);
      expect([applied.code, applied.error]).toEqual([0, ""]);
      for (let i = 0; i < 6; i++) expect(await bodyOf(first.http, "/news")).toBe("fresh");
      const refused = await runSelvedge(["delete", "Service/echo", ...server]);
      expect([refused.code, refused.error.includes("dangling_reference")]).toEqual([1, true]);
      expect((await runSelvedge(["delete", "Route/nothing", ...server])).code).toBe(4);
      const got = await runSelvedge(["get", "Route/news", "--json", ...server]);
      expect(JSON.parse(got.out).key).toBe("Route/default/news");
      expect((await runSelvedge(["status", "--wait", ...server])).code).toBe(0);
      if (kind === "nats") {
        const overNats = await runSelvedge(["get", "routes", "--json", "--nats", `nats://127.0.0.1:${natsPort}`]);
        expect(JSON.parse(overNats.out)).toHaveLength(3);
      }
      const dump = await runSelvedge(["config-dump", "--admin-url", `http://127.0.0.1:${first.admin}`]);
      expect(dump.out).toContain("default/news");
      expect(dump.out).not.toContain("PRIVATE KEY");
      const { workers } = await statusOf(first.admin);
      program.child.kill("SIGINT");
      expect((await program.finished).code).toBe(0);
      expect(workers.filter(({ pid }) => isAlive(pid))).toEqual([]);
      if (kind === "nats") expect(await fetch(`http://127.0.0.1:${natsPort}`).catch(() => "gone")).toBe("gone");

      const second = await upArguments(state, more);
      const again = start(second.args, env);
      await again.saw("Ctrl-C stops everything");
      expect(await bodyOf(second.http, "/news")).toBe("fresh");
      expect(await bodyOf(second.http, "/hello")).toBe("Hello from /hello\n");
      again.child.kill("SIGTERM");
      expect((await again.finished).code).toBe(0);
    },
    TEST_MS,
  );

  test(
    "a NATS port in use is named, and what was started before is stopped",
    async () => {
      const [state, port] = [folder(), await freePort()];
      const taken = createServer(() => {}).listen(port, "127.0.0.1");
      cleanups.push(() => void taken.close());
      const { args } = await upArguments(state, ["--nats-listen", `127.0.0.1:${port}`]);
      const nats = (await findNats()).server ?? "";
      const { code, error } = await runSelvedge(args, { SELVEDGE_NATS_SERVER: nats });
      expect(code).toBe(1);
      expect(error).toContain(`port ${port} on 127.0.0.1 is in use`);
      expect(error).toContain("--nats-listen");
    },
    TEST_MS,
  );
});
