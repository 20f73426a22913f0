// A secured NATS server as an operator sets it up: users by `selvedge permissions`, groups of proxies, publishers of their own name.
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildPlugin } from "../kit/extism.ts";
import { startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, type RunningProgram, runSelvedge, startSelvedge } from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function start(args: readonly string[], env?: Record<string, string>): RunningProgram {
  const program = startSelvedge(args, env);
  cleanups.push(async () => {
    program.child.kill("SIGKILL");
    await program.finished;
  });
  return program;
}

const USERS = ["--proxies", "edge-1", "--proxies", "inner-1=inner", "--publishers", "blind", "--editors", "deploy"];

test(
  "permissions that nats-server loads, a control plane with two groups, a proxy of the second, a publisher",
  async () => {
    const folder = newFolder();
    cleanups.push(folder.remove);
    const passwords = join(folder.path, "passwords.yaml");
    writeFileSync(passwords, "control: c$1\nedge-1: 'e\"1'\ninner-1: i1\nblind: b\ndeploy: d\n");
    const printed = await runSelvedge(["permissions", ...USERS, "--passwords", passwords]);
    expect([printed.code, printed.error]).toEqual([0, ""]);
    const server = await startNats({ config: printed.out });
    cleanups.push(() => server.stop());

    const listen = `127.0.0.1:${await freePort()}`;
    const login = { SELVEDGE_NATS: server.url, SELVEDGE_NATS_USER: "control", SELVEDGE_NATS_PASSWORD: "c$1" };
    const control = start(["control", "--groups", "gateway", "--groups", "inner", "--listen", listen], login);
    await control.saw("groups  gateway, inner");
    const speaker = join(folder.path, "speaker.wasm");
    writeFileSync(speaker, buildPlugin({ text: "hello", exports: { on_request: "$text $log_warn i32.const 0" } }));
    const pushed = await runSelvedge(["filter", "push", speaker, "--json", "--server", `http://${listen}`]);
    const { digest } = JSON.parse(pushed.out) as { digest: string };

    const port = await freePort();
    const own = { SELVEDGE_NATS: server.url, SELVEDGE_NATS_USER: "inner-1", SELVEDGE_NATS_PASSWORD: "i1" };
    const proxy = start(["proxy", "--mode", "sidecar", "--id", "inner-1", "--group", "inner", "--admin", "off"], own);
    await proxy.saw("selvedge proxy");
    const config = join(folder.path, "config.yaml");
    writeFileSync(
      config,
      `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: speaker }
spec: { module: { digest: "${digest}" } }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ filters: [speaker], respond: { body: inner } }] }
`,
    );
    const nats = ["--nats", server.url.replace("//", "//deploy:d@")];
    const applied = await runSelvedge(["apply", "-f", config, "--wait", "--proxies", "1", "--timeout", "60", ...nats]);
    expect([applied.code, applied.error]).toEqual([0, ""]);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("inner");
    const status = await runSelvedge(["status", ...nats]);
    expect(status.out).toMatch(/inner-1 +inner +1 +ok/);
    const said = await runSelvedge(["filter", "logs", "speaker", "--proxy", "inner-1", "--json", ...nats]);
    expect(
      said.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    ).toEqual([expect.objectContaining({ proxy: "inner-1", filter: "default/speaker", level: "warn", message: "hello" })]);
    const deaf = await runSelvedge(["filter", "logs", "speaker", "--nats", server.url.replace("//", "//blind:b@")]);
    expect([deaf.code, deaf.error.includes("may not publish"), deaf.out]).toEqual([1, true, ""]);
    const blind = await runSelvedge(["history", "--nats", server.url.replace("//", "//blind:b@")]);
    expect([blind.code, blind.error.includes("may not publish")]).toEqual([1, true]);
    control.child.kill("SIGTERM");
    expect((await control.finished).code).toBe(0);
  },
  TEST_MS,
);

test("what is missing or would give too much is named", async () => {
  const folder = newFolder();
  cleanups.push(folder.remove);
  const file = join(folder.path, "p.yaml");
  writeFileSync(file, "control: c\nedge-1: e\n'*': x\n");
  const missing = await runSelvedge(["permissions", ...USERS, "--passwords", file]);
  expect([missing.code, missing.error.includes("no password for inner-1, blind, deploy")]).toEqual([2, true]);
  const wild = await runSelvedge(["permissions", "--proxies", "*", "--passwords", file]);
  expect([wild.code, wild.error.includes("only letters")]).toEqual([2, true]);
  writeFileSync(file, "control: 1234\n");
  const number = await runSelvedge(["permissions", "--passwords", file]);
  expect([number.code, number.error.includes("put it in quotes")]).toEqual([1, true]);
  const group = await runSelvedge(["control", "--groups", "a.b", "--listen", `127.0.0.1:${await freePort()}`]);
  expect([group.code, group.error.includes("--groups")]).toEqual([2, true]);
});

test(
  "up with a server of one's own that has users; the password of the address is shown nowhere",
  async () => {
    const folder = newFolder();
    cleanups.push(folder.remove);
    const server = await startNats({ config: 'authorization { users: [{ user: all, password: "hunter2" }] }\n' });
    cleanups.push(() => server.stop());
    const admin = `127.0.0.1:${await freePort()}`;
    const up = start([
      ...["up", "--nats", server.url.replace("//", "//all:hunter2@"), "--state-dir", folder.path, "--workers", "1"],
      ...["--admin", admin, "--listen", `127.0.0.1:${await freePort()}`],
    ]);
    await up.saw("Ctrl-C stops everything");
    expect(up.out()).toContain(`NATS     ${server.url}\n`);
    const status = await (await fetch(`http://${admin}/status`)).text();
    expect(status).toContain(server.url);
    expect(`${up.out()}${up.error()}${status}`).not.toContain("hunter2");
    up.child.kill("SIGTERM");
    expect((await up.finished).code).toBe(0);
  },
  TEST_MS,
);
