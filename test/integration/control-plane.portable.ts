/** The control plane over a real nats-server, with the real `nats` CLI. */
import assert from "node:assert/strict";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { REVISION_MAX } from "../../src/config/nats/status.ts";
import type { SnapshotUpdate } from "../../src/config/source.ts";
import { createNatsSource } from "../../src/config/source-nats.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { InboxAnswer } from "../../src/control/inbox/answer.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { type NatsServer, runNatsCli, startNats } from "../kit/nats.ts";
import { afterAll, afterEach, beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const clock = new SystemClock();

const service = (name: string, port = 9000) =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });

const BAD_YAML = `apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: shop }
spec:
  endpoints: ["127.0.0.1:99999"]
  unknown: 1
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: shop }
spec:
  rules:
    - backends: [nowhere]
`;

describe("control plane over NATS", () => {
  let server: NatsServer;
  const planes: CreatedControlPlane[] = [];
  beforeAll(async () => {
    server = await startNats();
  });
  afterAll(() => server.stop());
  afterEach(async () => {
    for (const plane of planes.splice(0)) await plane.stop();
  });

  async function startPlane(id = "control"): Promise<CreatedControlPlane> {
    const plane = createControlPlane({
      backend: { kind: "nats", address: { servers: [server.url] }, id, ackWaitMs: 1_000 },
      ...{ modules: builtinModules(new Map()), version: "test", clock, rng: systemRng(), log: SILENT_LOG },
    });
    planes.push(plane);
    await plane.start();
    return plane;
  }

  const request = async (subject: string, text: string): Promise<InboxAnswer & { resources?: unknown[] }> => {
    const { code, output } = await runNatsCli(server, [
      "request",
      "--raw",
      "--timeout",
      "60s",
      `selvedge.config.${subject}`,
      text,
    ]);
    assert.equal(code, 0, output);
    return JSON.parse(output);
  };

  test("`nats request` is answered with the revision, never by the stream; `nats pub` is applied as well", async () => {
    const plane = await startPlane();
    const answer = await request("apply", service("shop"));
    assert.ok(answer.ok, JSON.stringify(answer));
    assert.deepEqual(answer.changes, [{ key: "Service/default/shop", kind: "created" }]);
    assert.equal(answer.revision, plane.status().revision);
    assert.equal(answer.digest, plane.status().digest);
    await runNatsCli(server, ["pub", "selvedge.config.apply.ann", service("cart")]);
    await until(() => plane.status().resources === 2);
    const [newest] = await plane.history();
    assert.equal(newest?.author, "ann");
    assert.equal(newest?.origin, "nats");
  });

  test("equal configuration is a no-op with the current revision", async () => {
    const plane = await startPlane();
    const first = await request("apply", service("same"));
    const second = await request("apply", service("same"));
    assert.ok(first.ok && second.ok);
    assert.equal(second.revision, first.revision);
    assert.deepEqual(second.changes, []);
    assert.equal(plane.status().revision, first.revision);
  });

  test("bad YAML is answered with all issues at once, with their places; the old configuration stays", async () => {
    const plane = await startPlane();
    const before = plane.status().revision;
    const answer = await request("apply", BAD_YAML);
    assert.ok(!answer.ok);
    const seen = answer.issues.map((issue) => `${issue.file}:${issue.line} ${issue.code}`).sort();
    assert.deepEqual(seen, ["<nats>:13 dangling_reference", "<nats>:5 bad_address", "<nats>:6 unknown_key"]);
    assert.equal(plane.status().revision, before);
    const syntax = await request("apply", "{ not: [yaml");
    assert.ok(!syntax.ok);
    assert.equal(syntax.issues[0]?.code, "yaml_syntax");
  });

  test("delete takes references or YAML; what is still referred to stays", async () => {
    const plane = await startPlane();
    await request(
      "apply",
      `${service("gone")}\n---\n${service("used")}\n---\n${JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Route", metadata: { name: "uses" }, spec: { rules: [{ backends: ["used"] }] } })}`,
    );
    const refused = await request("delete", "Service/used");
    assert.ok(!refused.ok);
    assert.equal(refused.issues[0]?.code, "dangling_reference");
    const unknown = await request("delete", "Service/never");
    assert.ok(!unknown.ok);
    assert.equal(unknown.issues[0]?.code, "unknown_resource");
    const both = await request("delete", "Route/default/uses\nService/used");
    assert.ok(both.ok);
    assert.deepEqual(
      both.changes.map((change) => change.kind),
      ["deleted", "deleted"],
    );
    assert.ok((await request("delete", service("gone"))).ok);
    assert.equal(plane.get({ name: "gone" }).length, 0);
  });

  test("get answers all, a kind, or one", async () => {
    await startPlane();
    await request("apply", service("one"));
    const all = await request("get", "");
    const one = await request("get", "Service/one");
    assert.equal(one.resources?.length, 1);
    assert.ok((all.resources?.length ?? 0) > 1);
    assert.equal((await request("get", '{"kind":"Mesh"}')).resources?.length, 0);
  });

  test("what is published while no control plane runs is applied in order when one is back", async () => {
    await (await startPlane()).stop();
    planes.length = 0;
    for (const port of [9001, 9002, 9003]) await runNatsCli(server, ["pub", "selvedge.config.apply", service("offline", port)]);
    const plane = await startPlane();
    await until(() => JSON.stringify(plane.get({ name: "offline" })).includes("9003"));
    const history = await plane.history();
    assert.deepEqual(
      history.slice(0, 3).map((entry) => /900\d/.exec(JSON.stringify(entry.changes[0]?.after))?.[0]),
      ["9003", "9002", "9001"],
    );
  });

  test("two control planes, fifty applies at once: all answered, serialised, and both have the same bytes", async () => {
    const [one, two] = [await startPlane("control-1"), await startPlane("control-2")];
    const connection = await connectNats({ servers: [server.url] }, "tester");
    try {
      const answers = await Promise.all(
        Array.from({ length: 50 }, async (_, i) => {
          if (i % 5 === 0) return one.apply({ text: service(`race-${i}`), author: "a", origin: "api" });
          if (i % 5 === 1) return two.apply({ text: service(`race-${i}`), author: "b", origin: "api" });
          return (
            await connection.request("selvedge.config.apply", service(`race-${i}`), { timeout: 60_000 })
          ).json<InboxAnswer>();
        }),
      );
      assert.ok(answers.every((answer) => answer.ok));
      const revisions = answers.map((answer) => (answer.ok ? answer.revision : 0));
      assert.equal(new Set(revisions).size, 50);
      await until(() => one.status().revision === two.status().revision);
      assert.equal(one.status().digest, two.status().digest);
      assert.deepEqual(one.get(), two.get());
      assert.equal(one.get().filter((each) => each.key.includes("race-")).length, 50);
    } finally {
      await connection.close();
    }
  });

  test("the same request again and again over two control planes is always answered, with the revision that holds it", async () => {
    await startPlane("control-1");
    await startPlane("control-2");
    const connection = await connectNats({ servers: [server.url] }, "tester");
    try {
      for (let i = 0; i < 20; i++) {
        const on = (
          await connection.request("selvedge.config.apply", service("flip", 9100), { timeout: 60_000 })
        ).json<InboxAnswer>();
        const off = (
          await connection.request("selvedge.config.apply", service("flip", 9200), { timeout: 60_000 })
        ).json<InboxAnswer>();
        assert.ok(on.ok && off.ok);
        assert.equal(off.revision, on.revision + 1);
      }
    } finally {
      await connection.close();
    }
  });

  test("a proxy gets what was applied; status and wait know it", async () => {
    const plane = await startPlane();
    const updates: SnapshotUpdate[] = [];
    const source = createNatsSource({
      address: { servers: [server.url] },
      id: "proxy-1",
      version: "test",
      clock,
      rng: systemRng(),
      log: SILENT_LOG,
    });
    await source.start((update) => {
      updates.push(update);
      source.report({ kind: "applied", revision: update.snapshot.revision, digest: update.snapshot.digest, applyMs: 1 });
    });
    const answer = await request("apply", service("live"));
    assert.ok(answer.ok);
    const outcome = await plane.waitApplied(answer.revision, 60_000, 1);
    assert.deepEqual(outcome, { ok: true, pending: [], rejected: [] });
    assert.ok(updates.at(-1)?.snapshot.services.some((each) => each.name === "default/live"));
    assert.equal(plane.status().proxies[0]?.id, "proxy-1");
    // A control plane that starts asks who is there.
    const second = await startPlane("control-2");
    await until(() => second.status().proxies.some((each) => each.id === "proxy-1" && each.revision === answer.revision));
    await source.stop();
  });

  test("a proxy that claims a revision that nobody can have is not believed", async () => {
    const plane = await startPlane();
    const claim = async (id: string, revision: number): Promise<void> => {
      const status = {
        ...{ id, group: "gateway", version: "1", revision, digest: "" },
        ...{ rejectedRevision: 0, issues: [], applyMs: 1, leaving: false },
      };
      const { code, output } = await runNatsCli(server, ["pub", `selvedge.proxy.${id}.status`, JSON.stringify(status)]);
      assert.equal(code, 0, output);
    };
    for (const [i, revision] of [REVISION_MAX + 1, Number.MAX_SAFE_INTEGER, 1e300, -1, 0.5].entries())
      await claim(`liar-${i}`, revision);
    await claim("honest", REVISION_MAX);
    const ids = () => plane.status().proxies.map((each) => each.id);
    await until(() => ids().includes("honest"));
    assert.deepEqual(
      ids().filter((id) => id.startsWith("liar")),
      [],
    );
  });

  test("rollback is a new apply; history has the difference", async () => {
    const plane = await startPlane();
    const first = await request("apply", service("rolled", 9001));
    await request("apply", `${service("rolled", 9002)}\n---\n${service("extra")}`);
    await request("delete", "Service/extra");
    assert.ok(first.ok);
    const digestThen = first.digest;
    const outcome = await plane.rollback(first.revision, "ann");
    assert.ok(outcome.ok);
    assert.equal(outcome.digest, digestThen);
    assert.equal(outcome.revision, first.revision + 3);
    const [newest] = await plane.history();
    assert.equal(newest?.origin, `rollback to ${first.revision}`);
    assert.match(JSON.stringify(newest?.changes[0]?.before), /9002/);
    const unknown = await plane.rollback(999_999, "ann");
    assert.deepEqual(unknown.ok ? [] : [unknown.reason, unknown.issues[0]?.code], ["not_found", "unknown_revision"]);
  });

  test("backup and restore bring everything back", async () => {
    const plane = await startPlane();
    await request("apply", service("kept"));
    const backup = await plane.backup();
    await request("apply", service("later"));
    await request("delete", "Service/kept");
    const outcome = await plane.restore(JSON.parse(JSON.stringify(backup)), "ann");
    assert.ok(outcome.ok);
    assert.equal(outcome.digest, backup.digest);
    assert.equal(plane.get({ name: "later" }).length, 0);
    const bad = await plane.restore({ kind: "Nothing" }, "ann");
    assert.equal(bad.ok, false);
  });

  test("NATS restarts: the control plane goes on", async () => {
    const plane = await startPlane();
    await request("apply", service("before"));
    await server.halt(true);
    await until(() => plane.status().connection === "disconnected");
    await server.resume();
    await until(() => plane.status().connection === "connected");
    const answer = await request("apply", service("after-restart"));
    assert.ok(answer.ok);
    assert.equal(plane.get({ name: "before" }).length, 1);
  });

  test("what does not fit a message goes through the object store; 10,000 routes", async () => {
    const { applyOverNats } = await import("../../src/control/inbox/send.ts");
    const plane = await startPlane();
    const routes = Array.from(
      { length: 10_000 },
      (_, i) =>
        `{apiVersion: selvedge.dev/v1, kind: Route, metadata: {name: r${i}}, spec: {hosts: [h${i % 1000}.example.org], rules: [{matches: [{path: {prefix: /p${i}}}], backends: [before]}]}}`,
    );
    const connection = await connectNats({ servers: [server.url] }, "tester");
    try {
      const answer = await applyOverNats(connection, { text: routes.join("\n---\n"), timeoutMs: 60_000 });
      assert.ok(answer.ok, JSON.stringify(answer).slice(0, 500));
      assert.equal(answer.changes.length + (answer.moreChanges ?? 0), 10_000);
      const changed = await applyOverNats(connection, {
        text: routes[4711]?.replace("/p4711", "/other") ?? "",
        timeoutMs: 60_000,
        author: "ann",
      });
      assert.ok(changed.ok);
      assert.deepEqual(changed.changes, [{ key: "Route/default/r4711", kind: "changed" }]);
      assert.equal((await plane.history())[0]?.author, "ann");
    } finally {
      await connection.close();
    }
  });
});
