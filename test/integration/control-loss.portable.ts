/** NATS loses its data: revisions go on above what proxies have seen, or they would refuse them. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { NATS_NAMES } from "../../src/config/nats/names.ts";
import { moduleName } from "../../src/config/nats/seal.ts";
import { createNatsSource, type NatsSource } from "../../src/config/source-nats.ts";
import { createControlPlane } from "../../src/control/create.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { NatsStore } from "../../src/control/store/nats.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { startNats } from "../kit/nats.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const tools = { clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG };

const resource = (kind: string, name: string, spec: object): string =>
  JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name }, spec });
const service = (port: number): string => resource("Service", "shop", { endpoints: [`127.0.0.1:${port}`] });

async function startPlane(url: string, id = "control"): Promise<CreatedControlPlane> {
  const plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [url] }, id, ackWaitMs: 1_000 },
    ...{ modules: builtinModules(new Map()), version: "test", ...tools },
  });
  await plane.start();
  return plane;
}

interface Proxy {
  readonly source: NatsSource;
  readonly revisions: number[];
}

/** A proxy that applies whatever comes, and keeps it in `folder`. */
async function startProxy(url: string, folder: string): Promise<Proxy> {
  const source = createNatsSource({ address: { servers: [url] }, id: "edge-1", version: "test", cacheFolder: folder, ...tools });
  const revisions: number[] = [];
  await source.start(({ snapshot: { revision, digest } }) => {
    revisions.push(revision);
    source.report({ kind: "applied", revision, digest, applyMs: 1 });
  });
  return { source, revisions };
}

async function applyOk(plane: CreatedControlPlane, text: string): Promise<number> {
  const outcome = await plane.apply({ text, author: "test", origin: "file" });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.revision;
}

describe("lost data", () => {
  test("a new server, a new control plane, and a proxy that serves what it has on disk", async () => {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-loss-"));
    const first = await startNats();
    const before = await startPlane(first.url);
    let proxy = await startProxy(first.url, folder);
    for (let port = 1; port <= 5; port++) await applyOk(before, service(port));
    await until(() => proxy.revisions.at(-1) === 5);
    const backup = await before.backup();
    await proxy.source.stop();
    await before.stop();
    await first.stop();

    const second = await startNats();
    proxy = await startProxy(second.url, folder);
    assert.deepEqual(proxy.revisions, [5]);
    const planes = [await startPlane(second.url, "one"), await startPlane(second.url, "two")];
    try {
      const [one, two] = planes as [CreatedControlPlane, CreatedControlPlane];
      assert.deepEqual([one.status().revision, one.get().length], [0, 0]);
      const restored = await one.restore(backup, "test");
      assert.ok(restored.ok && restored.revision === 6, JSON.stringify(restored));
      await until(() => proxy.revisions.at(-1) === 6);
      assert.equal(await applyOk(two, service(7)), 7);
      await until(() => proxy.revisions.at(-1) === 7);
      assert.deepEqual(
        (await one.history()).map((each) => each.revision),
        [7, 6],
      );
      // Whoever starts now finds a log that holds something, and leaves it alone.
      const late = await startPlane(second.url, "late");
      planes.push(late);
      assert.equal(late.status().revision, 7);
      assert.equal(await applyOk(late, service(8)), 8);
    } finally {
      for (const plane of planes) await plane.stop();
      await proxy.source.stop();
      await second.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("the data goes while everybody runs", async () => {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-loss-"));
    const server = await startNats();
    const plane = await startPlane(server.url);
    const proxy = await startProxy(server.url, folder);
    try {
      for (let port = 1; port <= 3; port++) await applyOk(plane, service(port));
      await until(() => proxy.revisions.at(-1) === 3);
      const connection = await connectNats({ servers: [server.url] }, "thief");
      const manager = await jetstreamManager(connection);
      for await (const stream of manager.streams.list()) await manager.streams.delete(stream.config.name);
      await connection.close();
      await server.halt(true);
      await until(() => plane.status().connection === "disconnected");
      await server.resume();
      await until(() => plane.status().connection === "connected" && plane.status().revision === 0);
      const outcome = await plane.apply({ text: service(9), author: "test", origin: "file" });
      assert.ok(outcome.ok && outcome.revision === 4, JSON.stringify(outcome));
      await until(() => proxy.revisions.at(-1) === 4);
    } finally {
      await plane.stop();
      await proxy.source.stop();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("what one control plane appends to a lost log stays, whatever another one learns meanwhile", async () => {
    const server = await startNats();
    const links = ["a", "b"].map((id) => new NatsLink(() => connectNats({ servers: [server.url] }, id)));
    const stores = links.map((link) => new NatsStore(link));
    const [one, other] = stores as [NatsStore, NatsStore];
    const entry = (name: string) => ({
      ...{ author: "", origin: "", timeMs: 1, digest: name, inboxSequence: 0 },
      changes: [{ key: `Service/default/${name}`, after: { name } }],
    });
    try {
      for (const store of stores) await store.open();
      // Both find nothing, and hear of different revisions.
      await one.startAbove(async () => 100);
      const appended: (number | undefined)[] = [];
      const info = links[1]?.parts.manager.streams;
      assert.ok(info !== undefined);
      const ask = info.info.bind(info);
      let asked = 0;
      // Between what the other one asks and what it does.
      info.info = async (...args) => {
        const answer = await ask(...args);
        const outcome = await one.append(entry(`of-one-${++asked}`), appended.at(-1) ?? 0);
        appended.push(outcome.ok ? outcome.value : undefined);
        return answer;
      };
      // Whatever is deleted from a log may be what another one has just appended.
      info.purge = () => assert.fail("nothing of a log is deleted");
      await other.startAbove(async () => 105);
      info.info = ask;
      assert.ok(appended.length > 0 && !appended.includes(undefined), appended.join());
      assert.equal(appended[0], 101);
      assert.deepEqual(await other.append(entry("of-other"), 0), { ok: false, error: { kind: "conflict" } });
      const last = appended.at(-1) as number;
      assert.deepEqual(await other.append(entry("of-other"), last), { ok: true, value: last + 1 });
      for (const store of stores)
        assert.deepEqual(
          (await store.readAfter(0)).map((each) => [each.revision, each.digest]),
          [...appended.map((revision, i) => [revision, `of-one-${i + 1}`]), [last + 1, "of-other"]],
        );
      // Who opens it later finds the same.
      const third = new NatsStore(links[0] as NatsLink);
      await third.open();
      await third.startAbove(() => assert.fail("the log holds something"));
      assert.deepEqual(await third.append(entry("third"), last + 1), { ok: true, value: last + 2 });
      assert.equal((await third.load()).revision, last + 2);
    } finally {
      for (const store of stores) await store.close();
      for (const link of links) await link.close();
      await server.stop();
    }
  });

  test("a log of an older version, whose entries do not say their revision, goes on", async () => {
    const server = await startNats();
    const link = new NatsLink(() => connectNats({ servers: [server.url] }, "a"));
    try {
      await new NatsStore(link).open();
      const { client, manager } = link.parts;
      // As it moved the beginning of a lost log.
      await manager.streams.purge(NATS_NAMES.logStream, { seq: 8 });
      const old = { previous: 0, author: "", origin: "", timeMs: 1, digest: "old", inboxSequence: 0, changes: [] };
      assert.equal((await client.publish(NATS_NAMES.log, JSON.stringify(old))).seq, 8);
      const store = new NatsStore(link);
      await store.open();
      assert.equal((await store.load()).revision, 8);
      const next = { author: "", origin: "", timeMs: 2, digest: "new", inboxSequence: 0, changes: [] };
      assert.deepEqual(await store.append(next, 8), { ok: true, value: 9 });
      assert.deepEqual(
        (await store.readAfter(0)).map((each) => each.revision),
        [8, 9],
      );
    } finally {
      await link.close();
      await server.stop();
    }
  });

  test("one module goes: applies of other things are taken and told, proxies that have it go on, and a push mends it", async () => {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-loss-"));
    const server = await startNats();
    const module = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
    const filter = (settings: object): string => resource("Filter", "lost", { module: { digest }, settings });
    const route = (name: string): string =>
      resource("Route", name, { hosts: [name], rules: [{ filters: ["lost"], backends: [{ service: "shop" }] }] });
    const planes = [await startPlane(server.url)];
    const proxy = await startProxy(server.url, folder);
    const digest = (await planes[0]?.putModule(module)) ?? "";
    try {
      const [before] = planes as [CreatedControlPlane];
      await applyOk(before, [service(1), filter({ key: "a" }), route("a")].join("\n---\n"));
      await until(() => proxy.revisions.at(-1) === 1);
      assert.deepEqual(before.status().warnings, []);
      await before.stop();
      const link = new NatsLink(() => connectNats({ servers: [server.url] }, "thief"));
      await link.open();
      const stored = (await link.parts.objects.list()).find(({ name }) => name === moduleName(digest));
      assert.ok(stored !== undefined);
      await link.parts.objects.remove(stored);
      await link.close();

      const after = await startPlane(server.url);
      planes.push(after);
      const codes = (issues: readonly { code: string; resource: string }[] = []) =>
        issues.map(({ code, resource: name }) => `${code} ${name}`);
      const apply = async (text: string) => {
        const outcome = await after.apply({ text, author: "test", origin: "api" });
        return outcome.ok ? ["ok", ...codes(outcome.warnings)] : ["refused", ...codes(outcome.issues)];
      };
      const lost = "module_lost Filter default/lost";
      assert.deepEqual(after.status().issues, []);
      assert.deepEqual(codes(after.status().warnings), [lost]);
      // What does not touch the Filter, what uses it, and the Filter as it is.
      assert.deepEqual(await apply(service(2)), ["ok", lost]);
      assert.deepEqual(await apply([filter({ key: "a" }), route("b")].join("\n---\n")), ["ok", lost]);
      await until(() => proxy.revisions.at(-1) === 3);
      // What would need the module itself.
      assert.deepEqual(await apply(filter({ key: "b" })), ["refused", "unknown_module Filter default/lost"]);
      const streams = [
        resource("Gateway", "edge", { listeners: [{ port: 7000, protocol: "TCP", name: "raw" }] }),
        resource("Route", "tcp", { tcp: { listener: "raw", filters: ["lost"], backends: [{ service: "shop" }] } }),
      ];
      assert.deepEqual(await apply(streams.join("\n---\n")), ["refused", "unknown_module Route default/tcp"]);
      const key = `ed25519:${Buffer.alloc(32, 1).toString("base64")}`;
      const mesh = resource("Mesh", "mesh", { filters: { requireSignature: true, trustedKeys: [key] } });
      assert.deepEqual(await apply(mesh), ["refused", "unsigned_module Filter default/lost"]);
      assert.equal(after.status().revision, 3);

      await after.putModule(module);
      await until(() => after.status().warnings.length === 0);
      assert.deepEqual(await apply(filter({ key: "b" })), ["ok"]);
      await until(() => proxy.revisions.at(-1) === 4);
    } finally {
      for (const plane of planes) await plane.stop();
      await proxy.source.stop();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  test("a Filter whose module is gone can be deleted, and one that no proxy was ever given is an issue", async () => {
    const server = await startNats();
    const plane = await startPlane(server.url);
    try {
      const digest = await plane.putModule(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
      await applyOk(plane, resource("Filter", "lost", { module: { digest } }));
      await plane.stop();
      const link = new NatsLink(() => connectNats({ servers: [server.url] }, "thief"));
      await link.open();
      for (const object of await link.parts.objects.list()) await link.parts.objects.remove(object);
      // Not even what proxies were given says anything of it.
      await link.parts.manager.streams.purge(`KV_${NATS_NAMES.snapshotBucket}`);
      await link.close();
      const after = await startPlane(server.url);
      try {
        assert.deepEqual(
          after.status().issues.map(({ code }) => code),
          ["unknown_module"],
        );
        const gone = await after.delete({ text: "Filter/lost", author: "test", origin: "api" });
        assert.ok(gone.ok, JSON.stringify(gone));
        await applyOk(after, service(1));
        assert.deepEqual([after.status().issues, after.status().warnings], [[], []]);
      } finally {
        await after.stop();
      }
    } finally {
      await plane.stop();
      await server.stop();
    }
  });
});
