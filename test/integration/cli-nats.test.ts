/** `selvedge … --nats` against a real nats-server and control plane. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { EXIT } from "../../src/cli/command.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { builtinModules } from "../../src/config/modules.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { natsPermissions } from "../../src/control/permissions.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";

let server: NatsServer;
let plane: CreatedControlPlane;

beforeAll(async () => {
  server = await startNats();
  plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [server.url] } },
    ...{ modules: builtinModules(new Map()), version: "test" },
    ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
  });
  await plane.start();
});

afterAll(async () => {
  await plane.stop();
  await server.stop();
});

const notHere = (): Promise<never> => Promise.reject(new Error("not in this test"));

async function run(argv: readonly string[], stdin = "", url = server.url) {
  let [out, error] = ["", ""];
  const terminal = {
    out: (text: string) => {
      out += text;
    },
    error: (text: string) => {
      error += text;
    },
    ...{ env: { USER: "ann" }, isTty: false, cwd: "/nonexistent", readStdin: async () => stdin },
  };
  const launchers = { proxy: notHere, control: notHere, up: notHere, createFilterTrial: notHere, createFilterHost: notHere };
  return { exit: await runCommandLine([...argv, "--nats", url], terminal, launchers), out, error };
}

const service = (name: string, note = "") => `apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: ${name}, annotations: { note: "${note}" } }
spec: { endpoints: ["127.0.0.1:9000"] }
`;

test("apply and delete, under the name of the user", async () => {
  const applied = await run(["apply", "-f", "-"], service("shop"));
  expect([applied.exit, applied.error]).toEqual([EXIT.ok, ""]);
  expect(applied.out).toContain("Service/shop created");
  expect((await plane.history())[0]?.author).toBe("ann");
  const named = await run(["delete", "Service/shop"], "", server.url.replace("//", "//bob:secret@"));
  expect([named.exit, named.error]).toEqual([EXIT.ok, ""]);
  expect((await plane.history())[0]?.author).toBe("bob");
  expect((await run(["delete", "Service/shop"])).exit).toBe(EXIT.notFound);
});

test(
  "a text larger than a message",
  async () => {
    const many = Array.from({ length: 4_000 }, (_, i) => service(`s${i}`, "x".repeat(250))).join("---\n");
    expect(many.length).toBeGreaterThan(1024 * 1024);
    const applied = await run(["apply", "-f", "-", "--json"], many);
    expect([applied.exit, applied.error]).toEqual([EXIT.ok, ""]);
    expect(plane.get({ kind: "Service" }).length).toBe(4_000);
    const deleted = await run(["delete", "-f", "-"], many);
    expect([deleted.exit, deleted.error]).toEqual([EXIT.ok, ""]);
    expect(plane.get({ kind: "Service" }).length).toBe(0);
  },
  TEST_MS,
);

test("more issues than an answer lists are counted", async () => {
  const bad = Array.from({ length: 1_200 }, (_, i) => service(`s${i}`).replace("spec:", "unknown:")).join("---\n");
  const { exit, out } = await run(["apply", "-f", "-", "--json"], bad);
  expect(exit).toBe(EXIT.failed);
  const issues = (JSON.parse(out) as { issues: { code: string }[] }).issues;
  expect(issues.at(-1)?.code).toBe("too_many_issues");
});

test("what NATS does not offer is refused before anything changes, with the way out", async () => {
  const waited = await run(["apply", "-f", "-", "--wait"], service("waited"));
  expect(waited.exit).toBe(EXIT.usage);
  expect(waited.error).toContain("--wait needs the control API");
  expect(waited.error).toContain("--server");
  expect(plane.get({ name: "waited" })).toEqual([]);
  for (const argv of [["status"], ["history"], ["rollback", "1"], ["backup"]]) {
    const refused = await run(argv);
    expect([argv[0], refused.exit]).toEqual([argv[0] as string, EXIT.usage]);
    expect(refused.error).toContain("needs the control API");
  }
});

test("an unreachable server is named without its password", async () => {
  const { exit, error } = await run(["get", "routes"], "", "nats://bob:secret@127.0.0.1:1");
  expect(exit).toBe(EXIT.unreachable);
  expect(error).toContain("127.0.0.1:1");
  expect(error).not.toContain("secret");
});

test(
  "on a secured server one acts under one's own name",
  async () => {
    const config = natsPermissions({
      control: { user: "control", password: "pc" },
      proxies: [],
      publishers: [{ user: "deploy", password: "p@d", read: true }],
    });
    const secured = await startNats({ config });
    const control = createControlPlane({
      backend: { kind: "nats", address: { servers: [secured.url], user: "control", password: "pc" } },
      ...{ modules: builtinModules(new Map()), version: "test" },
      ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
    });
    try {
      await control.start();
      const url = secured.url.replace("//", "//deploy:p%40d@");
      const applied = await run(["apply", "-f", "-"], service("shop"), url);
      expect([applied.exit, applied.error]).toEqual([EXIT.ok, ""]);
      expect((await control.history())[0]?.author).toBe("deploy");
      const got = await run(["get", "services", "--json"], "", url);
      expect([got.exit, got.error]).toEqual([EXIT.ok, ""]);
      expect(got.out).toContain("shop");
    } finally {
      await control.stop();
      await secured.stop();
    }
  },
  TEST_MS,
);
