/** `selvedge … --nats` against a real nats-server and control plane. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../../src/cli/command.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { createNatsSource } from "../../src/config/source-nats.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { InboxAnswer } from "../../src/control/inbox/answer.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { parseOwners } from "../../src/control/owners/file.ts";
import { Owners } from "../../src/control/owners/owners.ts";
import { natsPermissions } from "../../src/control/permissions.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { EventLog } from "../../src/core/events.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { testAuthority } from "../kit/certs.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { TEST_MS } from "../kit/patience.ts";
import { until } from "../kit/until.ts";

let server: NatsServer;
let plane: CreatedControlPlane;

beforeAll(async () => {
  server = await startNats();
  plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [server.url] } },
    ...{ modules: builtinModules(), version: "test" },
    ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
  });
  await plane.start();
});

afterAll(async () => {
  await plane.stop();
  await server.stop();
});

const notHere = (): Promise<never> => Promise.reject(new Error("not in this test"));

async function run(argv: readonly string[], stdin = "", url = server.url, env: Record<string, string> = {}) {
  let [out, error] = ["", ""];
  const terminal = {
    out: (text: string) => {
      out += text;
    },
    error: (text: string) => {
      error += text;
    },
    ...{ env: { USER: "ann", ...env }, isTty: false, cwd: "/nonexistent", readStdin: async () => stdin },
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

test("what is not there is told with what was meant", async () => {
  expect((await run(["apply", "-f", "-"], service("basket"))).exit).toBe(EXIT.ok);
  for (const [target, hint] of [
    ["Service/baskt", "did you mean basket?\n"],
    ["Servce/basket", "did you mean Service?\n"],
    ["Service/prod/basket", ""],
  ] as const)
    expect(await run(["get", target])).toEqual({
      exit: EXIT.notFound,
      out: "",
      error: `error: there is no ${target}\n${hint}`,
    });
  expect((await run(["delete", "Service/basket"])).exit).toBe(EXIT.ok);

  const filter = { apiVersion: "selvedge.dev/v1", kind: "Filter", metadata: { name: "a" }, spec: { module: { file: "a.wasm" } } };
  expect((await run(["apply", "-f", "-"], JSON.stringify(filter))).error).toContain(
    "a.wasm cannot be read: a control plane reads no files of its machine. (run `selvedge filter push a.wasm` and name the digest that it prints)",
  );
});

test("what has no resources is said so, and changes nothing", async () => {
  for (const text of ["", "# nothing yet\n---\n\n...\n", "\uFEFF---  # x"]) {
    const applied = await run(["apply", "-f", "-"], text);
    expect([applied.exit, applied.error]).toEqual([EXIT.ok, "! <stdin> has no resources\n"]);
    expect(applied.out).toContain("nothing changed");
  }
});

test("filter disable, enable and release change the resource and nothing else of it", async () => {
  const filter = `apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: limits, annotations: { note: mine } }
spec: { module: { builtin: rate-limit }, settings: { limits: [{ name: a, requests: 1, per: second, key: [clientIp] }] } }
`;
  expect((await run(["apply", "-f", "-"], filter)).exit).toBe(EXIT.ok);
  const specOf = async (): Promise<Record<string, unknown>> => {
    const { written } = JSON.parse((await run(["get", "Filter/limits", "-o", "json"])).out) as {
      written: { metadata: unknown; spec: Record<string, unknown> };
    };
    expect(written.metadata).toMatchObject({ annotations: { note: "mine" } });
    return written.spec;
  };
  const before = await specOf();
  const disabled = await run(["filter", "disable", "limits"]);
  expect([disabled.exit, disabled.error]).toEqual([EXIT.ok, ""]);
  expect(disabled.out).toContain("Filter/limits changed");
  expect(disabled.out).toContain("onFailure closed: routes that name it answer 503 until it is enabled");
  expect(await specOf()).toEqual({ ...before, disabled: true });
  const listed = JSON.parse((await run(["filter", "list", "--json"])).out) as { filters: unknown[] };
  expect(listed.filters).toContainEqual(
    expect.objectContaining({ name: "default/limits", state: "disabled by configuration", disabled: true }),
  );
  expect((await run(["filter", "list"])).out).toMatch(/default\/limits +disabled by configuration/);
  expect((await run(["filter", "list"])).out).toMatch(/rate-limit +- +- +Filter\/limits/);
  // In quarantine nowhere, it stays as it is.
  const needless = await run(["filter", "release", "limits"]);
  expect([needless.exit, await specOf()]).toEqual([EXIT.failed, { ...before, disabled: true }]);
  expect(needless.error).toContain("default/limits is not in quarantine");
  const events = new EventLog(new SystemClock());
  const edge = createNatsSource({
    ...{ address: { servers: [server.url] }, id: "edge-q", version: "test", events },
    ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
  });
  await edge.start(({ snapshot: { revision, digest } }) => edge.report({ kind: "applied", revision, digest, applyMs: 1 }));
  events.add("filter_quarantined", "default/limits", "it trapped");
  await until(() => plane.status().proxies.some((proxy) => proxy.events.length > 0));
  // Released, it is still disabled: one does not say anything of the other.
  expect((await run(["filter", "release", "default/limits", "--json"])).exit).toBe(EXIT.ok);
  const released = await specOf();
  expect(released).toEqual({ ...before, disabled: true, release: expect.stringMatching(/^20.*Z$/) });
  expect((await run(["filter", "enable", "Filter/limits"])).exit).toBe(EXIT.ok);
  await edge.stop();
  const { disabled: _gone, ...enabled } = released;
  expect(await specOf()).toEqual(enabled);
  const again = await run(["filter", "enable", "limits"]);
  expect([again.exit, again.error]).toEqual([EXIT.ok, ""]);
  expect(again.out).toContain("default/limits is not disabled in the mesh; nothing changed");
  expect(again.out).toContain("--admin-url");
  expect(await run(["filter", "disable", "nothing"])).toMatchObject({ exit: EXIT.notFound });
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
  for (const argv of [["backup"], ["restore", "-"], ["diff", "-f", "-"], ["apply", "-f", "-", "--dry-run"]]) {
    const refused = await run(argv, argv[0] === "restore" ? "{}" : service("dry"));
    expect([argv[0], refused.exit]).toEqual([argv[0] as string, EXIT.usage]);
    expect(refused.error).toContain("needs the control API");
    expect(refused.error).toContain("--server");
  }
  expect(plane.get({ name: "dry" })).toEqual([]);
});

test(
  "a server with TLS and users: the authority, the user and the password by the same flags as of the servers",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-cli-nats-"));
    const write = async (name: string, text: string): Promise<string> => {
      await writeFile(join(folder, name), text);
      return join(folder, name);
    };
    const authority = await testAuthority("nats");
    const { certificatePem, keyPem } = await authority.issue({ dns: ["localhost"], ip: ["127.0.0.1"] });
    const caFile = await write("ca.pem", authority.certificatePem);
    const tls = `tls { cert_file: "${await write("cert.pem", certificatePem)}", key_file: "${await write("key.pem", keyPem)}" }`;
    const users = `authorization { users: [{ user: deploy, password: "a secret: %" }] }`;
    const secured = await startNats({ config: `${tls}\n${users}\n` });
    const url = secured.url.replace("nats:", "tls:");
    const clock = new SystemClock();
    const login = { user: "deploy", password: "a secret: %" };
    const guarded = createControlPlane({
      backend: { kind: "nats", address: { servers: [url], ...login, tls: { caFile } } },
      ...{ modules: builtinModules(), version: "test", clock, rng: systemRng(), log: SILENT_LOG },
    });
    try {
      await guarded.start();
      const password = { SELVEDGE_NATS_PASSWORD: login.password };
      const asDeploy = ["--nats-user", "deploy", "--nats-ca", caFile];
      const applied = await run(["apply", "-f", "-", ...asDeploy], service("shop"), url, password);
      expect([applied.exit, applied.error]).toEqual([EXIT.ok, ""]);
      expect((await guarded.history())[0]?.author).toBe("deploy");
      const inUrl = url.replace("//", `//deploy:${encodeURIComponent(login.password)}@`);
      // The address counts more: what stands in the environment may be another's.
      const other = { SELVEDGE_NATS_USER: "x", SELVEDGE_NATS_PASSWORD: "y", SELVEDGE_NATS_CA: caFile };
      expect((await run(["status"], "", inUrl, other)).exit).toBe(EXIT.ok);

      const untrusted = await run(["status", "--nats-user", "deploy"], "", url, password);
      expect([untrusted.exit, untrusted.error.includes("--nats-ca names")]).toEqual([EXIT.unreachable, true]);
      const refused = await run(["status", ...asDeploy], "", url, { SELVEDGE_NATS_PASSWORD: "wrong" });
      expect([refused.exit, refused.error.includes("look at --nats-user")]).toEqual([EXIT.unreachable, true]);
      expect(refused.error).not.toContain("selvedge up");
    } finally {
      await guarded.stop();
      await secured.stop();
      await rm(folder, { recursive: true });
    }
  },
  TEST_MS,
);

test("what can never work is said at once, without the password", async () => {
  for (const [flags, url, told] of [
    [["--nats-ca", "/nonexistent/ca.pem"], server.url, "cannot read /nonexistent/ca.pem"],
    [["--nats-ca", `${import.meta.dir}/../../package.json`], server.url, "there is no certificate in"],
    [["--nats-credentials", "/nonexistent/x.creds"], server.url, "cannot read /nonexistent/x.creds"],
    [[], "https://ann:hunter2@127.0.0.1:1", "is not a URL like nats://"],
    [[], "nats://", "is not a URL like nats://"],
    [[], "nats://ann:%zz@127.0.0.1:1", "a % that encodes nothing"],
  ] as const) {
    const { exit, error } = await run(["status", ...flags], "", url);
    expect([told, exit, error.includes(told)]).toEqual([told, EXIT.usage, true]);
    expect(error).not.toContain("hunter2");
  }
});

test(
  "status, --wait, history and rollback",
  async () => {
    const source = createNatsSource({
      ...{ address: { servers: [server.url] }, id: "edge-1", version: "test" },
      ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
    });
    await source.start(({ snapshot: { revision, digest } }) => source.report({ kind: "applied", revision, digest, applyMs: 1 }));
    const waited = await run(["apply", "-f", "-", "--wait", "--proxies", "1"], service("waited", "one"));
    expect([waited.exit, waited.error]).toEqual([EXIT.ok, ""]);
    expect(waited.out).toContain("every proxy serves it");
    const { revision } = plane.status();
    await run(["apply", "-f", "-"], service("waited", "two"));
    const rolled = await run(["rollback", String(revision), "--wait"]);
    expect([rolled.exit, rolled.error]).toEqual([EXIT.ok, ""]);
    expect(JSON.stringify(plane.get({ name: "waited" }))).toContain("one");
    const [newest] = await plane.history();
    expect([newest?.author, newest?.origin]).toEqual(["ann", `rollback to ${revision}`]);
    expect((await run(["rollback", "999999"])).exit).toBe(EXIT.notFound);
    expect((await run(["history"])).out).toContain(`rollback to ${revision}`);
    const listed = JSON.parse((await run(["history", "--json"])).out) as { revision: number }[];
    expect(listed.map((each) => each.revision)).toEqual((await plane.history()).map((each) => each.revision));
    const back = await run(["history", String(revision + 2)]);
    expect([back.exit, back.error]).toEqual([EXIT.ok, ""]);
    expect(back.out).toContain(`rollback to ${revision}`);
    expect(back.out).toMatch(
      /\nService\/waited\n(.*\n)*- .*two.*\n(.*\n)*\+ .*one|\nService\/waited\n(.*\n)*\+ .*one.*\n(.*\n)*- .*two/,
    );
    expect(JSON.parse((await run(["history", String(revision + 2), "--json"])).out)).toMatchObject({ revision: revision + 2 });
    const unknown = await run(["history", "999999"]);
    expect([unknown.exit, unknown.error]).toEqual([
      EXIT.notFound,
      "error: there is no revision 999999 in the history\nselvedge history lists them\n",
    ]);
    expect((await run(["history", "newest"])).exit).toBe(EXIT.usage);
    const between = await run(["diff", "--from", String(revision), "--to", String(revision + 2)]);
    expect([between.exit, between.out]).toEqual([EXIT.ok, `nothing differs between ${revision} and ${revision + 2}\n`]);
    expect((await run(["diff", "--from", String(revision), "--to", String(revision + 1)])).out).toMatch(/^\+ .*two/m);
    expect((await run(["diff", "--from", String(revision), "--to", String(revision), "--exit-code"])).exit).toBe(EXIT.ok);
    const unknownToo = await run(["diff", "--from", "999999"]);
    expect([unknownToo.exit, unknownToo.error]).toEqual([
      unknown.exit,
      "error: There is no revision 999999 in the history.\nselvedge history lists them\n",
    ]);
    for (const wrong of [
      ["--to", "1"],
      ["--from", "x"],
      ["--from", "1", "-f", "-"],
    ])
      expect((await run(["diff", ...wrong])).exit).toBe(EXIT.usage);
    expect((await run(["status"])).out).toMatch(/edge-1 +gateway +\d+ +ok/);
    await source.stop();
    const late = await run(["status", "--wait", "--proxies", "5", "--timeout", "1"]);
    expect([late.exit, late.error.includes("after 1 s")]).toEqual([EXIT.unreachable, true]);
  },
  TEST_MS,
);

test(
  "what is too large for a message in bytes, not in letters, is told so",
  async () => {
    const many = Array.from({ length: 800 }, (_, i) => service(`u${i}`, "я".repeat(600))).join("---\n");
    expect((await run(["apply", "-f", "-"], many)).exit).toBe(EXIT.ok);
    const tooLarge = await run(["get", "services"]);
    expect([tooLarge.exit, tooLarge.error.includes("does not fit a message")]).toEqual([EXIT.failed, true]);
    expect((await run(["history"])).out).toContain("+Service/u0");
    expect((await run(["delete", "-f", "-"], many)).exit).toBe(EXIT.ok);
  },
  TEST_MS,
);

test(
  "a history too large for a message says what changed, not into what",
  async () => {
    const many = Array.from({ length: 3_000 }, (_, i) => service(`h${i}`, "y".repeat(350))).join("---\n");
    expect((await run(["apply", "-f", "-"], many)).exit).toBe(EXIT.ok);
    expect((await run(["history"])).out).toContain("+Service/h0");
    const whole = await run(["history", String(plane.status().revision)]);
    expect([whole.exit, whole.error.includes("--server")]).toEqual([EXIT.failed, true]);
    const tooLarge = await run(["get", "services"]);
    expect([tooLarge.exit, tooLarge.error.includes("does not fit a message")]).toEqual([EXIT.failed, true]);
    expect((await run(["delete", "-f", "-"], many)).exit).toBe(EXIT.ok);
  },
  TEST_MS,
);

test("messages that look like ours and are not are refused", async () => {
  const connection = await connectNats({ servers: [server.url] }, "tester");
  const bad = ['{"ref":"x"}', '{"refs":[]}', '{"part":"?"}', '{"rollback":"1"}', '{"rollback":1,"x":2}', '{"part":"'];
  for (const text of bad) {
    const answer = (await connection.request("selvedge.config.apply", text, { timeout: 60_000 })).json<InboxAnswer>();
    expect([text, answer.ok ? "" : answer.issues[0]?.code]).toEqual([text, "bad_request"]);
  }
  const unknown = `{"ref":"sha256:${"0".repeat(64)}"}`;
  const answer = (await connection.request("selvedge.config.apply", unknown, { timeout: 60_000 })).json<InboxAnswer>();
  expect(answer.ok ? "" : answer.issues[0]?.code).toBe("missing_object");
  await connection.close();
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
      publishers: [
        { user: "deploy", password: "p@d", read: true },
        { user: "blind", password: "pb" },
      ],
    });
    const secured = await startNats({ config });
    const control = createControlPlane({
      backend: { kind: "nats", address: { servers: [secured.url], user: "control", password: "pc" } },
      ...{ modules: builtinModules(), version: "test" },
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
      // Larger than a message, without a right on the object store.
      const many = Array.from({ length: 4_000 }, (_, i) => service(`s${i}`, "ä".repeat(200))).join("---\n");
      const large = await run(["apply", "-f", "-", "--json"], many, url);
      expect([large.exit, large.error]).toEqual([EXIT.ok, ""]);
      expect(JSON.stringify(control.get({ kind: "Service", name: "s3999" }))).toContain("ä".repeat(200));
      const status = await run(["status", "--json"], "", url);
      expect(JSON.parse(status.out).revision).toBe(control.status().revision);
      // Who may not read is told so.
      const blind = secured.url.replace("//", "//blind:pb@");
      expect((await run(["apply", "-f", "-"], service("other"), blind)).exit).toBe(EXIT.ok);
      const refused = await run(["status"], "", blind);
      expect([refused.exit, refused.error.includes("may not publish to selvedge.config.get.blind")]).toEqual([EXIT.failed, true]);
    } finally {
      await control.stop();
      await secured.stop();
    }
  },
  TEST_MS,
);

test(
  "where publishers own parts, none rolls back, and the history shows each what is its own",
  async () => {
    const control = createControlPlane({
      backend: { kind: "nats", address: { servers: [server.url] }, id: "second" },
      owners: new Owners(
        await parseOwners(
          "publishers:\n  carol: { namespaces: [hers], endpoints: [127.0.0.0/8] }\n  dave: { namespaces: [his] }\n",
        ),
      ),
      ...{ modules: builtinModules(), version: "test" },
      ...{ clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG },
    });
    await plane.stop();
    try {
      await control.start();
      const url = server.url.replace("//", "//carol:x@");
      const hers = service("mine").replace("name: mine", "name: mine, namespace: hers");
      const applied = await run(["apply", "-f", "-"], hers, url);
      expect([applied.exit, applied.error]).toEqual([EXIT.ok, ""]);
      const before = control.status().revision;
      const refused = await run(["rollback", String(before)], "", url);
      expect([refused.exit, refused.error.includes("not_owned")]).toEqual([EXIT.failed, true]);
      expect(control.status().revision).toBe(before);
      // Who published it sees that it was refused, and what was wrong first; another publisher does not.
      expect((await run(["apply", "-f", "-"], hers.replace("endpoints:", "endpoint:"), url)).exit).toBe(EXIT.failed);
      const refusals = (await run(["status"], "", url)).out;
      expect(refusals).toMatch(/ carol +apply +\d+ +<nats>:\d+:\d+ unknown_key Service hers\/mine spec.endpoint: /);
      expect(refusals).toMatch(/ carol +apply +1 +not_owned: /);
      expect((await run(["status"], "", server.url.replace("//", "//dave:x@"))).out).not.toContain("carol");
      expect(control.status().refused.map(({ author, action }) => [author, action])).toEqual(Array(2).fill(["carol", "apply"]));
      const entries = JSON.parse((await run(["history", "--json"], "", url)).out) as { changes: { key: string }[] }[];
      expect([...new Set(entries.flatMap(({ changes }) => changes.map(({ key }) => key)))]).toEqual(["Service/hers/mine"]);
    } finally {
      await control.stop();
    }
  },
  TEST_MS,
);
