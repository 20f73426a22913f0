/** Snapshots from a control plane's distributor to a proxy's source, over a real nats-server. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsConnection } from "@nats-io/nats-core";
import { sha256Digest } from "../../src/config/canonical.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { NATS_NAMES, snapshotSubject, statusSubject } from "../../src/config/nats/names.ts";
import { sealedName } from "../../src/config/nats/seal.ts";
import { splitSections } from "../../src/config/sections.ts";
import type { RouteConfig, Snapshot } from "../../src/config/snapshot.ts";
import type { SnapshotUpdate } from "../../src/config/source.ts";
import { createNatsSource, type NatsSource } from "../../src/config/source-nats.ts";
import { NatsDistributor } from "../../src/control/distribute/nats.ts";
import { ProxyTable } from "../../src/control/model/proxies.ts";
import { collectGarbage } from "../../src/control/nats/garbage.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import { NatsStore } from "../../src/control/store/nats.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { EventLog } from "../../src/core/events.ts";
import { EVENT_LIMITS } from "../../src/core/limits.ts";
import { JsonLog, SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { filterOf, forwardTo, routeOf, snapshotOf } from "../kit/snapshot.ts";
import { afterAll, afterEach, beforeAll, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const clock = new SystemClock();
const MODULE = new Uint8Array(300_000).map((_, i) => i % 251);
const MODULE_DIGEST = sha256Digest(MODULE);

/** As the compiler makes it: the digest is that of the sections. */
function compiled(revision: number, routes: readonly RouteConfig[], part: Partial<Snapshot> = {}): Snapshot {
  const snapshot = snapshotOf({ routes, filters: [], ...part, revision, group: part.group ?? "gateway" });
  return { ...snapshot, digest: splitSections(snapshot, 0).manifest.digest };
}
const simple = (revision: number): Snapshot => compiled(revision, [routeOf(`r${revision}`, [forwardTo("shop")])]);

describe("nats source", () => {
  let server: NatsServer;
  let link: NatsLink;
  let distributor: NatsDistributor;
  let folder: string;
  const sources: NatsSource[] = [];
  let revision = 0;

  beforeAll(async () => {
    server = await startNats();
    folder = await mkdtemp(join(tmpdir(), "selvedge-source-"));
    link = new NatsLink(() => connectNats({ servers: [server.url] }, "control"));
    distributor = new NatsDistributor(link, clock, SILENT_LOG);
    await distributor.open();
  });
  afterAll(async () => {
    await distributor.close();
    await link.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });
  afterEach(async () => {
    for (const source of sources.splice(0)) await source.stop();
  });

  interface Proxy {
    readonly source: NatsSource;
    readonly updates: SnapshotUpdate[];
    readonly seen: () => number;
    readonly connection: () => NatsConnection;
  }

  async function startProxy(
    id: string,
    options: { cache?: string; group?: string; applies?: boolean; events?: EventLog } = {},
  ): Promise<Proxy> {
    const updates: SnapshotUpdate[] = [];
    let connection: NatsConnection | undefined;
    const source = createNatsSource({
      ...{ address: { servers: [server.url] }, id, version: "test", clock, rng: systemRng(), log: SILENT_LOG },
      ...(options.cache === undefined ? {} : { cacheFolder: join(folder, options.cache) }),
      ...(options.group === undefined ? {} : { group: options.group }),
      ...(options.events === undefined ? {} : { events: options.events }),
      connect: async (address, name) => {
        connection = await connectNats(address, name);
        return connection;
      },
    });
    sources.push(source);
    await source.start((update) => {
      updates.push(update);
      const { revision: applied, digest } = update.snapshot;
      if (options.applies !== false) source.report({ kind: "applied", revision: applied, digest, applyMs: 1 });
    });
    return {
      ...{ source, updates, seen: () => updates.at(-1)?.snapshot.revision ?? 0 },
      connection: () => {
        assert.ok(connection);
        return connection;
      },
    };
  }

  const publish = (snapshot: Snapshot, modules: ReadonlyMap<string, Uint8Array> = new Map()) =>
    distributor.publish({ snapshot, modules, publishedAtMs: 1_700_000_000_000 });

  test("a proxy without any snapshot starts and gets the first one", async () => {
    const proxy = await startProxy("first");
    assert.equal(proxy.updates.length, 0);
    assert.deepEqual(proxy.source.state(), { kind: "connected", revision: 0 });
    const snapshot = simple(++revision);
    await publish(snapshot);
    await until(() => proxy.seen() === revision);
    assert.equal(proxy.updates[0]?.publishedAtMs, 1_700_000_000_000);
    assert.deepEqual(proxy.updates[0]?.snapshot, JSON.parse(JSON.stringify(snapshot)));
  });

  test("a proxy that starts later gets the newest one, with modules", async () => {
    const filters = [filterOf("f", MODULE_DIGEST)];
    await publish(compiled(++revision, [], { filters }), new Map([[MODULE_DIGEST, MODULE]]));
    const proxy = await startProxy("late");
    assert.equal(proxy.seen(), revision);
    assert.deepEqual(proxy.updates[0]?.modules, new Map([[MODULE_DIGEST, MODULE]]));
  });

  test("an older revision is refused, wherever it comes from", async () => {
    const proxy = await startProxy("refuses");
    const old = simple(revision);
    await publish(simple(++revision));
    await publish(simple(++revision));
    await until(() => proxy.seen() === revision);
    const { manifest, sections } = splitSections({ ...old, revision: revision - 1 }, 0);
    for (const bytes of sections.values()) await link.parts.objects.putSealed(bytes);
    link.parts.connection.publish(snapshotSubject("gateway"), JSON.stringify(manifest));
    // The distributor does not overwrite a newer one either.
    await publish({ ...old, revision: revision - 1 });
    assert.equal(await distributor.publishedRevision("gateway"), revision);
    await publish(simple(++revision));
    await until(() => proxy.seen() === revision);
    const revisions = proxy.updates.map((update) => update.snapshot.revision);
    assert.deepEqual(
      revisions,
      [...new Set(revisions)].sort((a, b) => a - b),
    );
  });

  test("garbage on the subject is ignored", async () => {
    const proxy = await startProxy("garbage");
    const digest = sha256Digest("x");
    const bad = [
      "",
      "{",
      "null",
      "[]",
      '{"revision":"9"}',
      JSON.stringify({ revision: 1e9, digest, group: "gateway", sections: { "../x": "../../etc" }, modules: [] }),
    ];
    for (const text of bad) link.parts.connection.publish(snapshotSubject("gateway"), text);
    await publish(simple(++revision));
    await until(() => proxy.seen() === revision);
  });

  test("an object that was altered is never handed over; the right one heals it", async () => {
    const proxy = await startProxy("altered");
    const before = proxy.seen();
    const snapshot = simple(++revision);
    const { manifest, sections } = splitSections(snapshot, 0);
    for (const [digest, bytes] of sections) {
      await link.parts.objects.putSealed(bytes);
      const name = sealedName(digest);
      await putRaw(name, new Uint8Array(bytes.byteLength + 16).fill(1));
    }
    link.parts.connection.publish(snapshotSubject("gateway"), JSON.stringify(manifest));
    await link.parts.connection.flush();
    await until(async () => (await proxy.connection().rtt()) >= 0);
    assert.equal(proxy.seen(), before);
    for (const bytes of sections.values()) await link.parts.objects.putSealed(bytes);
    await until(() => proxy.seen() === revision);
    await publish(simple(++revision));
  });

  async function putRaw(name: string, bytes: Uint8Array): Promise<void> {
    const { Objm } = await import("@nats-io/obj");
    const store = await new Objm(link.parts.connection).open(NATS_NAMES.objectBucket);
    await store.putBlob({ name }, bytes);
  }

  test("groups do not see each other's snapshots", async () => {
    const edge = await startProxy("edge");
    const inner = await startProxy("inner", { group: "inner" });
    await publish(compiled(++revision, [], { group: "inner" }));
    await until(() => inner.seen() === revision);
    assert.ok(edge.updates.every((update) => update.snapshot.group === "gateway"));
  });

  test("ack, nack with reasons and heartbeat reach the table; a proxy that leaves is forgotten", async () => {
    const table = new ProxyTable(clock);
    distributor.onStatus((message, local) => table.update(message, local));
    const good = await startProxy("good");
    const bad = await startProxy("bad", { applies: false });
    await until(() => table.list().length === 2);
    const waiting = table.wait(revision + 1, 60_000, 2);
    await publish(simple(++revision));
    await until(() => bad.seen() === revision);
    const issue = {
      code: "bad_module",
      message: "no",
      hint: "",
      resource: "Filter default/f",
      path: "",
      file: "",
      line: 0,
      column: 0,
    };
    const digest = bad.updates.at(-1)?.snapshot.digest ?? "";
    bad.source.report({ kind: "rejected", revision, digest, issues: [issue] });
    const outcome = await waiting;
    assert.equal(outcome.ok, false);
    assert.deepEqual(outcome.rejected, [{ id: "bad", issues: [issue] }]);
    await until(() => table.list().find((each) => each.id === "good")?.revision === revision);
    bad.source.report({ kind: "applied", revision, digest, applyMs: 2 });
    await until(() => table.list().every((each) => each.rejectedRevision === 0));
    assert.deepEqual(await table.wait(revision, 60_000, 2), { ok: true, pending: [], rejected: [] });
    await good.source.stop();
    await until(() => table.list().length === 1);
    distributor.onStatus(() => {});
  });

  test("a user that the server refuses is told so once, with what to do, however often it is tried", async () => {
    const lines: { message: string; cause: string; hint: string }[] = [];
    const log = new JsonLog("warn", clock, (line) => void lines.push(JSON.parse(line)));
    let tries = 0;
    const source = createNatsSource({
      ...{ address: { servers: [server.url] }, id: "nobody", version: "test", clock, rng: systemRng(), log },
      connect: () => {
        tries++;
        return Promise.reject(new Error("Authorization Violation"));
      },
    });
    sources.push(source);
    await source.start(() => {});
    await until(() => tries >= 3);
    assert.deepEqual(
      lines.map(({ message, cause, hint }) => [message, cause, hint.includes("--nats-user")]),
      [["NATS cannot be reached, trying again", "Authorization Violation", true]],
    );
  });

  test("what happens to a proxy reaches the table soon, the newest first; a message that lies about it is no message", async () => {
    const table = new ProxyTable(clock);
    distributor.onStatus((message, local) => table.update(message, local));
    const events = new EventLog(clock);
    const proxy = await startProxy("eventful", { events });
    const told = () => table.list().find(({ id }) => id === "eventful")?.events ?? [];
    for (let i = 0; i <= EVENT_LIMITS.published; i++) events.add("filter_broke", `default/f${i}`, "trap");
    events.merge([{ kind: "filter_quarantined", subject: "default/f0", reason: "x", count: 2, firstMs: 1, lastMs: 2 }], 3);
    await until(() => told().length > 0);
    assert.equal(told().length, EVENT_LIMITS.published);
    assert.deepEqual(told()[0], {
      ...{ kind: "filter_quarantined", subject: "default/f0", reason: "x", count: 2, firstMs: 1, lastMs: 2, worker: 3 },
    });
    const { events: list, seenAtMs: _, ...status } = table.list().find(({ id }) => id === "eventful") ?? assert.fail();
    const lies = [{}, null, 1, { ...list[0], lastMs: 1e300 }, { ...list[0], subject: 7 }, { ...list[0], count: "many" }];
    const say = (each: unknown): void =>
      proxy
        .connection()
        .publish(statusSubject("eventful"), JSON.stringify({ ...status, leaving: false, version: "liar", events: each }));
    for (const lie of lies) say([lie]);
    say("none");
    say([]);
    await until(() => told().length === 0);
    assert.equal(table.list().find(({ id }) => id === "eventful")?.version, "liar");
    distributor.onStatus(() => {});
  });

  test("the last good snapshot survives on disk, readable by the owner only, and serves without NATS", async () => {
    const filters = [filterOf("f", MODULE_DIGEST)];
    await publish(compiled(++revision, [routeOf("kept", [forwardTo("shop")])], { filters }), new Map([[MODULE_DIGEST, MODULE]]));
    const first = await startProxy("disk", { cache: "disk" });
    assert.equal(first.seen(), revision);
    // By itself, not only when it stops.
    await until(() => existsSync(join(folder, "disk", "manifest.json")));
    await first.source.stop();
    for (const name of await readdir(join(folder, "disk")))
      assert.equal((await stat(join(folder, "disk", name))).mode & 0o777, 0o600);
    await server.halt();
    const second = await startProxy("disk", { cache: "disk" });
    assert.equal(second.seen(), revision);
    assert.deepEqual(second.updates[0]?.modules, new Map([[MODULE_DIGEST, MODULE]]));
    assert.equal(second.source.state().kind, "disconnected");
    await server.resume();
    await until(() => second.source.state().kind === "connected");
    await until(isLinkUp);
    await publish(simple(++revision));
    await until(() => second.seen() === revision);
  });

  test("a snapshot that was refused does not come back from disk", async () => {
    await publish(simple(++revision));
    const good = revision;
    const proxy = await startProxy("refused", { cache: "refused" });
    await proxy.source.stop();
    await publish(simple(++revision));
    const again = await startProxy("refused", { cache: "refused", applies: false });
    assert.equal(again.seen(), revision);
    again.source.report({ kind: "rejected", revision, digest: "", issues: [] });
    await again.source.stop();
    await server.halt();
    const offline = await startProxy("refused", { cache: "refused" });
    assert.equal(offline.seen(), good);
    await offline.source.stop();
    await server.resume();
    await until(isLinkUp);
  });

  test("a damaged cache is ignored", async () => {
    const proxy = await startProxy("damaged", { cache: "damaged" });
    await proxy.source.stop();
    for (const name of await readdir(join(folder, "damaged"))) {
      const path = join(folder, "damaged", name);
      if (name !== "manifest.json") await writeFile(path, `${await readFile(path, "utf8")} `);
    }
    const again = await startProxy("damaged", { cache: "damaged" });
    assert.equal(again.seen(), revision);
    assert.equal(again.updates.length, 1);
  });

  test("NATS is lost and comes back: the proxy says so, and gets what was published meanwhile", async () => {
    const proxy = await startProxy("lost");
    const before = proxy.seen();
    assert.equal(before, revision);
    await server.halt(true);
    await until(() => proxy.source.state().kind === "disconnected");
    assert.equal(proxy.source.state().revision, before);
    await server.resume();
    await until(isLinkUp);
    await publish(simple(++revision));
    await until(() => proxy.seen() === revision);
    assert.equal(proxy.source.state().kind, "connected");
  });

  /** What is asked while the connection is down gets no answer. */
  const isLinkUp = () =>
    link.parts.connection.rtt().then(
      () => true,
      () => false,
    );

  test("a proxy 1,000 revisions behind goes straight to the newest", async () => {
    const proxy = await startProxy("behind", { cache: "behind" });
    await proxy.source.stop();
    for (let i = 0; i < 1_000; i++) await publish(simple(++revision));
    const again = await startProxy("behind", { cache: "behind" });
    await until(() => again.seen() === revision);
    // What was on disk, and the newest.
    assert.equal(again.updates.length, 2);
  });

  test("of 10,000 routes a change of one moves the manifest and one section", async () => {
    const routes = Array.from({ length: 10_000 }, (_, i) =>
      routeOf(`route-${i}`, [forwardTo("shop")], [`h${i % 1_000}.example.org`]),
    );
    await publish(compiled(++revision, routes));
    // Else the next announcement takes along what is no object yet.
    await distributor.close();
    const proxy = await startProxy("large");
    assert.equal(proxy.seen(), revision);
    const total = [...splitSections(compiled(revision, routes), 0).sections.values()].reduce(
      (sum, bytes) => sum + bytes.byteLength,
      0,
    );
    const changed = routes.map((route, i) =>
      i === 4_711 ? routeOf("route-4711", [forwardTo("other")], ["x.example.org"]) : route,
    );
    const next = compiled(++revision, changed);
    const split = splitSections(next, 0);
    const old = splitSections(compiled(revision, routes), 0);
    const differing = Object.keys(split.manifest.sections).filter(
      (name) => split.manifest.sections[name] !== old.manifest.sections[name],
    );
    assert.equal(differing.length, 1);
    const sectionBytes = split.sections.get(split.manifest.sections[differing[0] ?? ""] ?? "")?.byteLength ?? 0;
    const manifestBytes = JSON.stringify(split.manifest).length;
    const before = { proxy: proxy.connection().stats().inBytes, control: link.parts.connection.stats().outBytes };
    await publish(next);
    await until(() => proxy.seen() === revision);
    const received = proxy.connection().stats().inBytes - before.proxy;
    const sent = link.parts.connection.stats().outBytes - before.control;
    // The section inside the manifest, where its quotes are escaped; nothing that grows with the number of routes.
    const bound = Math.ceil(manifestBytes + 1.5 * sectionBytes + 4_096);
    assert.ok(received >= manifestBytes + sectionBytes && received <= bound, `${received} bytes received, at most ${bound}`);
    // It may already become an object as well.
    assert.ok(sent <= bound + sectionBytes + 4_096, `${sent} bytes sent, at most ${bound} and an object expected`);
    assert.ok(bound < total / 20, `${bound} of ${total} bytes`);
    assert.equal(proxy.updates.length, 2);
  });

  test("garbage: what the kept manifests, the log and the view need stays, the rest goes", async () => {
    const store = new NatsStore(link);
    await store.open();
    const { objects } = link.parts;
    const big = "x".repeat(400_000);
    const change = { key: "Route/default/big", after: { apiVersion: "v1", kind: "Route", metadata: { name: "big" }, spec: big } };
    const entry = { author: "", origin: "", timeMs: 1, digest: "", inboxSequence: 0, changes: [change] };
    assert.ok((await store.append(entry, 0)).ok);
    await store.load();
    await publish(simple(++revision));
    // What is announced is an object from now on: half of one would count as an orphan below.
    await distributor.close();
    const laterMs = Date.now() + 60_000;
    // What the tests before this one left: two writers of one object at once leave chunks of one of them, as the timing has it.
    await collectGarbage(link, store, distributor, laterMs, 1_000);
    const unused = await objects.putSealed(new Uint8Array([1, 2, 3]));
    for (let i = 0; i < 20; i++) await objects.putSealed(new Uint8Array([i]));
    link.parts.connection.publish("$O.selvedge_objects.C.orphan", "half an object");
    // Within the grace nothing goes.
    assert.deepEqual(await collectGarbage(link, store, distributor, Date.now(), 600_000), { objects: 0, bytes: 0, orphans: 0 });
    const first = await collectGarbage(link, store, distributor, laterMs, 1_000);
    assert.equal(first.objects, 21);
    assert.equal(first.orphans, 1);
    assert.equal(await objects.findSealed(unused), undefined);
    assert.deepEqual(await collectGarbage(link, store, distributor, laterMs, 1_000), { objects: 0, bytes: 0, orphans: 0 });
    const proxy = await startProxy("after-garbage");
    assert.equal(proxy.seen(), revision);
    assert.deepEqual((await store.readAfter(0))[0]?.changes, [change]);
    assert.deepEqual((await store.load()).resources.get("Route/default/big")?.written, change.after);
    // Something deleted comes back when it is used again.
    assert.equal(await objects.putSealed(new Uint8Array([1, 2, 3])), unused);
    assert.deepEqual(await objects.getSealed(unused), Buffer.from([1, 2, 3]));
  });
});
