/** NATS loses its data: revisions go on above what proxies have seen, or they would refuse them. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { createNatsSource, type NatsSource } from "../../src/config/source-nats.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { startNats } from "../kit/nats.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const tools = { clock: new SystemClock(), rng: systemRng(), log: SILENT_LOG };

const service = (port: number): string =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Service",
    metadata: { name: "shop" },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });

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
});
