/** A secured nats-server with the users that `natsPermissions` writes: nobody gets beyond what is its own. */
import assert from "node:assert/strict";
import type { NatsConnection } from "@nats-io/nats-core";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { manifestGetSubject, OBJECT_GET_SUBJECT } from "../../src/config/nats/names.ts";
import type { SnapshotUpdate } from "../../src/config/source.ts";
import { createNatsSource, type NatsSource } from "../../src/config/source-nats.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { parseOwners } from "../../src/control/owners/file.ts";
import { Owners } from "../../src/control/owners/owners.ts";
import { natsPermissions } from "../../src/control/permissions.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { FilterLogs } from "../../src/core/filter-logs.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { type NatsServer, runNatsCli, startNats } from "../kit/nats.ts";
import { WAIT_MS } from "../kit/patience.ts";
import { afterAll, beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

interface Issue {
  readonly code: string;
}

const clock = new SystemClock();
const SECRET = "the-secret-of-the-gateway-group";
/** So large that it does not travel inside the manifest but is an object. */
const SECRET_BODY = `${SECRET}${"x".repeat(200_000)}`;
/** What each publisher owns; the operator's own way is the API. */
const OWNERS = `publishers:
  ann: { namespaces: [default], hosts: ["*.example.org"] }
  bob: { namespaces: [default, bob], hosts: [bob.example.org] }
  mallory: { namespaces: [mallory], hosts: [mallory.example.org] }
`;
const route = (name: string, body: string, namespace = "default", rule: object = { respond: { status: 200, body } }) =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Route",
    metadata: { name, namespace },
    spec: { hosts: [`${name}.example.org`], rules: [rule] },
  });

describe("permissions of a secured server", () => {
  let server: NatsServer;
  let plane: CreatedControlPlane;
  const open: { close(): Promise<unknown> }[] = [];

  beforeAll(async () => {
    const config = natsPermissions({
      control: { user: "control", password: "control-password" },
      proxies: [
        { id: "edge-1", password: 'p"1$x' },
        { id: "inner-1", group: "inner", password: "p2" },
      ],
      filterSubjects: ["shop.>"],
      publishers: [
        { user: "ann", password: "pa" },
        { user: "bob", password: "pb", read: true },
        { user: "mallory", password: "pm", read: true },
      ],
    });
    server = await startNats({ config });
    const owners = new Owners(await parseOwners(OWNERS));
    plane = createControlPlane({
      owners,
      backend: { kind: "nats", address: { servers: [server.url], user: "control", password: "control-password" } },
      ...{
        groups: ["gateway", "inner"],
        modules: builtinModules(new Map()),
        version: "t",
        clock,
        rng: systemRng(),
        log: SILENT_LOG,
      },
    });
    await plane.start();
    const outcome = await plane.apply({ text: route("secret", SECRET_BODY), author: "x", origin: "api" });
    assert.ok(outcome.ok, JSON.stringify(outcome));
  });
  afterAll(async () => {
    for (const each of open.splice(0)) await each.close();
    await plane.stop();
    await server.stop();
  });

  /** A connection and what the server refused it. */
  async function login(
    user: string,
    password: string,
  ): Promise<{ connection: NatsConnection; refused: () => Promise<string[]> }> {
    const connection = await connectNats({ servers: [server.url], user, password }, user);
    open.push(connection);
    const errors: string[] = [];
    void (async () => {
      for await (const event of connection.status()) if (event.type === "error") errors.push(event.error.message);
    })();
    const refused = async () => {
      // An error comes before the answer to a ping that was sent later; the status is told one turn after.
      await connection.flush();
      await new Promise((resolve) => setTimeout(resolve, 0));
      return errors.splice(0);
    };
    return { connection, refused };
  }

  async function assertRefused(
    user: string,
    password: string,
    kind: "publish" | "subscribe",
    subjects: readonly string[],
    allowed: boolean,
  ): Promise<void> {
    const { connection, refused } = await login(user, password);
    for (const subject of subjects) {
      if (kind === "publish") connection.publish(subject, "{}", { reply: `_INBOX_${user}.x` });
      else connection.subscribe(subject, { callback: () => {} });
      const errors = await refused();
      assert.equal(
        errors.some((error) => /permissions violation/i.test(error)),
        !allowed,
        `${user} ${kind} ${subject}: ${errors}`,
      );
    }
    await connection.close();
  }

  test("nobody comes in without or with a wrong password", async () => {
    await assert.rejects(connectNats({ servers: [server.url] }, "nobody"), /authorization/i);
    await assert.rejects(connectNats({ servers: [server.url], user: "ann", password: "pb" }, "ann"), /authorization/i);
  });

  test("each proxy works with its own rights", async () => {
    for (const [id, password, group] of [
      ["edge-1", 'p"1$x', "gateway"],
      ["inner-1", "p2", "inner"],
    ] as const) {
      const updates: SnapshotUpdate[] = [];
      const source: NatsSource = createNatsSource({
        ...{
          address: { servers: [server.url], user: id, password },
          id,
          group,
          version: "t",
          clock,
          rng: systemRng(),
          log: SILENT_LOG,
        },
      });
      await source.start((update) => {
        updates.push(update);
        source.report({ kind: "applied", revision: update.snapshot.revision, digest: update.snapshot.digest, applyMs: 0 });
      });
      assert.equal(updates.at(-1)?.snapshot.group, group);
      await until(() => plane.status().proxies.some((each) => each.id === id && each.revision === plane.status().revision));
      const outcome = await plane.apply({ text: route(`for-${id}`, "x"), author: "x", origin: "api" });
      assert.ok(outcome.ok);
      await until(() => updates.at(-1)?.snapshot.revision === outcome.revision);
      await source.stop();
    }
  });

  test("a proxy cannot read another group, hear others, publish configuration or speak for another", async () => {
    const publish = [
      ...["selvedge.config.apply", "selvedge.config.apply.ann", "selvedge.config.delete", "selvedge.config.get", "selvedge.log"],
      ...["selvedge.snapshot.inner", "selvedge.snapshot.gateway", "selvedge.proxy.edge-1.status", "selvedge.proxy.*.status"],
      ...["selvedge.proxy.edge-1.logs", "selvedge.proxy.*.logs", "selvedge.proxy.edge-1.ask", "selvedge.proxy.inner-1.ask"],
      ...[
        manifestGetSubject("gateway"),
        manifestGetSubject("*"),
        manifestGetSubject(">"),
        "$KV.selvedge_snapshots.inner",
        "$KV.selvedge_config.x",
      ],
      ...["$JS.API.DIRECT.GET.KV_selvedge_snapshots", "$JS.API.DIRECT.GET.KV_selvedge_config", "$JS.API.DIRECT.GET.SELVEDGE_LOG"],
      ...[
        "$JS.API.STREAM.MSG.GET.KV_selvedge_snapshots",
        "$JS.API.STREAM.MSG.GET.OBJ_selvedge_objects",
        "$JS.API.STREAM.NAMES",
        "$JS.API.INFO",
      ],
      ...[
        "$JS.API.CONSUMER.CREATE.KV_selvedge_snapshots",
        "$JS.API.STREAM.PURGE.OBJ_selvedge_objects",
        "$O.selvedge_objects.M.x",
        "$O.selvedge_objects.C.x",
      ],
    ];
    await assertRefused("inner-1", "p2", "publish", publish, false);
    const subscribe = [
      ">",
      "selvedge.>",
      "selvedge.snapshot.*",
      "selvedge.snapshot.gateway",
      "selvedge.config.apply",
      "selvedge.proxy.*.status",
      ...["selvedge.proxy.edge-1.ask", "selvedge.proxy.*.ask", "selvedge.proxy.edge-1.logs", "selvedge.proxy.inner-1.logs"],
    ];
    await assertRefused(
      "inner-1",
      "p2",
      "subscribe",
      [...subscribe, "_INBOX.>", "_INBOX_edge-1.>", "_INBOX_control.>", "$KV.>", "$O.>"],
      false,
    );
    await assertRefused(
      "inner-1",
      "p2",
      "publish",
      ["selvedge.proxy.inner-1.status", "selvedge.proxy.inner-1.logs", manifestGetSubject("inner")],
      true,
    );
    await assertRefused("inner-1", "p2", "subscribe", ["selvedge.snapshot.inner", "selvedge.proxy.inner-1.ask"], true);
  });

  test("what filters say is told to the control plane by the proxy that was asked, and read by who may read the filter", async () => {
    const sources: NatsSource[] = [];
    for (const [id, password, group] of [
      ["edge-1", 'p"1$x', "gateway"],
      ["inner-1", "p2", "inner"],
    ] as const) {
      const filterLogs = new FilterLogs(clock);
      filterLogs.add("default/x", 2, `said in ${id}`, "id-1", 0);
      const address = { servers: [server.url], user: id, password };
      const source = createNatsSource({
        ...{ address, id, group, version: "t", clock, rng: systemRng(), log: SILENT_LOG, filterLogs },
      });
      sources.push(source);
      await source.start(() => {});
    }
    await until(() => plane.status().proxies.length === 2);
    const saidIn = async (id: string, filter = "default/x"): Promise<unknown> => {
      const answer = await plane.filterLogs(id, { filter });
      return answer.ok ? answer.page.lines.map(({ message }) => message) : answer.reason;
    };
    assert.deepEqual(await saidIn("edge-1"), ["said in edge-1"]);
    assert.deepEqual(await saidIn("inner-1"), ["said in inner-1"]);
    assert.deepEqual(await saidIn("edge-1", "default/other"), []);
    assert.equal(await saidIn("nobody"), "no_proxy");
    const ask = async (user: string, password: string): Promise<string> => {
      const { connection } = await login(user, password);
      const question = JSON.stringify({ query: "logs", proxy: "edge-1", logs: { filter: "default/x" } });
      const answer = await connection.request(`selvedge.config.get.${user}`, question, { timeout: WAIT_MS });
      await connection.close();
      return answer.string();
    };
    assert.match(await ask("bob", "pb"), /said in edge-1/);
    assert.match(await ask("mallory", "pm"), /"not_owned"/);
    for (const source of sources) await source.stop();
  });

  test("all that a proxy can read of the object store tells nothing of another group", async () => {
    const { connection } = await login("inner-1", "p2");
    const readAll = async (): Promise<number> => {
      let read = 0;
      for (let sequence = 1; ; read++) {
        const query = JSON.stringify({ seq: sequence, next_by_subj: "$O.selvedge_objects.>" });
        const answer = await connection.request(OBJECT_GET_SUBJECT, query, { timeout: 60_000 });
        if (answer.headers?.code) return read;
        assert.ok(!Buffer.from(answer.data).includes(SECRET));
        sequence = Number(answer.headers?.get("Nats-Sequence")) + 1;
      }
    };
    // What travelled inside an announcement is an object a moment later.
    await until(async () => (await readAll()) > 2);
    const last = await connection.request(`${OBJECT_GET_SUBJECT}.$O.selvedge_objects.M.*`, "", { timeout: 60_000 });
    assert.ok(!last.string().includes("sha256:"), "an object's name must not be its digest");
    await connection.close();
  });

  test("a publisher may publish under its own name only, and is the author", async () => {
    const args = [
      "request",
      "--raw",
      "--timeout",
      "60s",
      "--inbox-prefix",
      "_INBOX_ann",
      "selvedge.config.apply.ann",
      route("of-ann", "x"),
    ];
    const { code, output } = await runNatsCli(server, args, ["--user", "ann", "--password", "pa"]);
    assert.equal(code, 0, output);
    assert.equal(JSON.parse(output).ok, true, output);
    assert.equal((await plane.history())[0]?.author, "ann");
    const others = [
      "selvedge.config.apply",
      "selvedge.config.apply.bob",
      "selvedge.config.apply.*",
      "selvedge.config.apply.>",
      "selvedge.config.delete.bob",
    ];
    const rest = [
      "selvedge.config.get",
      "selvedge.config.get.ann",
      "selvedge.control.processed",
      "$JS.API.INFO",
      "$O.selvedge_objects.C.x",
    ];
    await assertRefused("ann", "pa", "publish", [...others, ...rest], false);
    await assertRefused(
      "ann",
      "pa",
      "subscribe",
      [">", "selvedge.config.>", "selvedge.snapshot.gateway", "_INBOX.>", "_INBOX_bob.>"],
      false,
    );
    await assertRefused("bob", "pb", "publish", ["selvedge.config.get.bob"], true);
  });

  test("a publisher writes, deletes and reads what it owns only (class 46)", async () => {
    const say = async (
      user: string,
      password: string,
      verb: string,
      text: string,
    ): Promise<{ ok?: boolean; issues?: Issue[] }> => {
      const { connection } = await login(user, password);
      const answer = await connection.request(`selvedge.config.${verb}.${user}`, text, { timeout: WAIT_MS });
      await connection.close();
      return answer.json();
    };
    const codes = (answer: { issues?: Issue[] }): string => (answer.issues ?? []).map((issue) => issue.code).join();
    const own = route("mallory", "mine", "mallory");
    assert.equal((await say("mallory", "pm", "apply", own)).ok, true);
    const before = plane.status();
    const attacks: readonly (readonly [string, string])[] = [
      // Another's host, in a namespace of one's own and in another's.
      ["apply", route("bob", "stolen", "mallory")],
      ["apply", route("bob", "stolen", "bob")],
      ["apply", route("mallory", "x", "default")],
      ["apply", `${own}\n---\n${route("bob", "stolen", "mallory")}`],
      // Another's service, over one's own host.
      ["apply", route("mallory", "", "mallory", { backends: ["default/secret"] })],
      [
        "apply",
        JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Mesh", metadata: { name: "m", namespace: "mallory" }, spec: {} }),
      ],
      ["delete", "Route/default/secret"],
      ["delete", "Route/default/of-nobody"],
      ["delete", route("secret", SECRET)],
    ];
    for (const [verb, text] of attacks) {
      const answer = await say("mallory", "pm", verb, text);
      assert.deepEqual([answer.ok, codes(answer)], [false, "not_owned"], text);
      assert.ok(!JSON.stringify(answer).includes(SECRET));
    }
    // The closer name decides: ann has the wildcard, bob has his own.
    assert.equal(codes(await say("ann", "pa", "apply", route("bob", "stolen"))), "not_owned");
    assert.equal((await say("bob", "pb", "apply", route("bob", "mine"))).ok, true);
    assert.equal(plane.status().revision, before.revision + 1);
    const seen = JSON.stringify(await say("mallory", "pm", "get", ""));
    assert.ok(seen.includes("mallory.example.org") && !seen.includes(SECRET) && !seen.includes("bob.example.org"), seen);
    assert.equal((await say("mallory", "pm", "delete", "Route/mallory/mallory")).ok, true);
  });

  test("nobody gives orders by the reply of a question: the answer goes back to who asked, or nowhere", async () => {
    const { connection: control } = await login("control", "control-password");
    const heard: string[] = [];
    for (const subject of [">", "$JS.API.STREAM.>"])
      control.subscribe(subject, { callback: (_error, message) => void heard.push(message.subject) });
    const neighbour = await login("edge-1", 'p"1$x');
    neighbour.connection.subscribe("selvedge.snapshot.gateway", { callback: () => void heard.push("neighbour") });
    neighbour.connection.subscribe("_INBOX_edge-1.>", { callback: () => void heard.push("neighbour's inbox") });
    await neighbour.connection.flush();
    await control.flush();
    const messages = async (): Promise<unknown> =>
      Promise.all(
        ["SELVEDGE_LOG", "KV_selvedge_config", "KV_selvedge_snapshots"].map(async (stream) => {
          const answer = await control.request(`$JS.API.STREAM.INFO.${stream}`, "");
          return answer.json<{ state?: { messages: number } }>().state?.messages;
        }),
      );
    const before = await messages();
    const targets = [
      ...[
        "$JS.API.STREAM.DELETE.SELVEDGE_LOG",
        "$JS.API.STREAM.PURGE.KV_selvedge_config",
        "$KV.selvedge_config.x",
        "selvedge.log",
      ],
      ...["selvedge.config.apply.bob", "selvedge.config.delete.bob", "selvedge.control.processed", "selvedge.snapshot.gateway"],
      ...["selvedge.proxy.edge-1.status", "_INBOX_edge-1.x", "_INBOX_control.x", "victim"],
    ];
    const { connection: proxy } = await login("inner-1", "p2");
    const questions: readonly (readonly [string, string])[] = [
      [manifestGetSubject("inner"), ""],
      [OBJECT_GET_SUBJECT, '{"seq":1}'],
      // Not found: an answer without a body, which is an order to JetStream.
      [OBJECT_GET_SUBJECT, '{"seq":999999}'],
    ];
    for (const reply of targets) for (const [subject, text] of questions) proxy.publish(subject, text, { reply });
    // Asked last and answered: so all before it were.
    assert.ok((await proxy.request(manifestGetSubject("inner"), "", { timeout: WAIT_MS })).data.length > 0);

    const { connection: publisher } = await login("mallory", "pm");
    for (const reply of targets) {
      publisher.publish("selvedge.config.apply.mallory", `rubbish for ${reply}`, { reply });
      publisher.publish("selvedge.config.get.mallory", "", { reply });
    }
    const last = await publisher.request("selvedge.config.apply.mallory", "rubbish", { timeout: WAIT_MS });
    assert.equal(last.json<{ ok: boolean }>().ok, false);
    await control.flush();
    await neighbour.connection.flush();
    // What publishers and control planes say to each other in the open, and nothing of what was aimed at.
    const aimed = heard.filter(
      (subject) => targets.includes(subject) && !["selvedge.control.processed", "selvedge.proxy.edge-1.status"].includes(subject),
    );
    assert.deepEqual([...new Set([...aimed, ...heard.filter((subject) => subject.startsWith("neighbour"))])], []);
    assert.deepEqual(await messages(), before);
    assert.equal(plane.status().issues.length, 0);
    assert.ok(!plane.status().proxies.some((each) => each.id === "edge-1" && each.revision > plane.status().revision));
    for (const each of [control, neighbour.connection, proxy, publisher]) await each.close();
  });

  test("wildcards, queues, other inboxes and JetStream's own subjects are closed to a proxy and to a publisher", async () => {
    const subscribe = [
      ...["*", "*.*", "*.>", "selvedge.*.*", "selvedge.snapshot.>", "selvedge.proxy.>", "selvedge.control.processed"],
      ...["selvedge.config.get.*", "$JS.>", "$JS.API.>", "$SYS.>", "_INBOX_*.>", "_INBOX_control.x", "_R_.>"],
    ];
    const publish = [
      ...["$JS.API.STREAM.LIST", "$JS.API.STREAM.DELETE.SELVEDGE_LOG", "$JS.API.CONSUMER.LIST.SELVEDGE_LOG", "$JS.ACK.x"],
      ...["$KV.selvedge_snapshots.gateway", "$KV.selvedge_config.x", "$O.selvedge_objects.C.x", "selvedge.control.processed"],
      ...[
        "selvedge.proxy.edge-1.ask",
        "selvedge.proxy.edge-1.logs",
        "selvedge.proxy.poll",
        "_INBOX_control.x",
        "_INBOX_edge-1.x",
        "$SYS.REQ.SERVER.PING",
        "selvedge.snapshot.gateway",
      ],
    ];
    for (const [user, password] of [
      ["inner-1", "p2"],
      ["mallory", "pm"],
    ] as const) {
      await assertRefused(user, password, "subscribe", subscribe, false);
      await assertRefused(user, password, "publish", publish, false);
    }
  });

  test("what filters publish reaches the other account, on the subjects that were named and on no others", async () => {
    const heard: string[] = [];
    const { connection: control } = await login("control", "control-password");
    control.subscribe(">", {
      callback: (_, message) => void (/^(shop|other)/.test(message.subject) && heard.push(message.subject)),
    });
    await control.flush();
    const source = createNatsSource({
      ...{ address: { servers: [server.url], user: "edge-1", password: 'p"1$x' }, id: "edge-1", version: "t" },
      ...{ clock, rng: systemRng(), log: SILENT_LOG },
    });
    assert.equal(source.publish("shop.orders", new Uint8Array([1])), false, "not connected yet");
    await source.start(() => {});
    assert.equal(source.publish("other.orders", new Uint8Array([1])), true);
    assert.equal(source.publish("shop.orders", new Uint8Array([1])), true);
    await until(() => heard.length > 0);
    assert.deepEqual(heard, ["shop.orders"]);
    await source.stop();
    assert.equal(source.publish("shop.orders", new Uint8Array([1])), false);
    for (const subject of ["selvedge.config.apply", "$JS.API.>", "_INBOX.>", "*.a", ">", "a..b", "a.>.b", "a b", ""]) {
      const options = { control: { user: "control", password: "x" }, proxies: [], publishers: [], filterSubjects: [subject] };
      assert.throws(() => natsPermissions(options), /subject/);
    }
  });

  test("names that are no single token are refused", () => {
    const control = { user: "control", password: "x" };
    for (const name of ["", "a.b", "*", ">", "a b", 'a"', "a\n", "ä"]) {
      assert.throws(() => natsPermissions({ control, proxies: [{ id: name, password: "x" }], publishers: [] }));
      assert.throws(() => natsPermissions({ control, proxies: [], publishers: [{ user: name, password: "x" }] }));
      if (name !== "")
        assert.throws(() => natsPermissions({ control, proxies: [{ id: "a", group: name, password: "x" }], publishers: [] }));
    }
    assert.throws(() => natsPermissions({ control, proxies: [{ id: "control", password: "x" }], publishers: [] }), /twice/);
    assert.throws(() => natsPermissions({ control, proxies: [{ id: "a", password: "" }], publishers: [] }), /password/);
  });
});
