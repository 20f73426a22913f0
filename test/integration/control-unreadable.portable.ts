/** What others have put into the store is passed over and named; it stops nothing, and two control planes pass over the same. */
import assert from "node:assert/strict";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { builtinModules } from "../../src/config/modules.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { NATS_NAMES } from "../../src/config/nats/names.ts";
import { createControlPlane } from "../../src/control/create.ts";
import type { CreatedControlPlane } from "../../src/control/options.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { CONFIG_LIMITS, CONTROL_LIMITS } from "../../src/core/limits.ts";
import { type Log, SILENT_LOG } from "../../src/core/log.ts";
import { systemRng } from "../../src/core/rng.ts";
import { startNats } from "../kit/nats.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const service = (name: string, port: number): string =>
  JSON.stringify({
    apiVersion: "selvedge.dev/v1",
    kind: "Service",
    metadata: { name },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });
const sha = `sha256:${"0".repeat(64)}`;
const common = { previous: 1, author: "", origin: "", timeMs: 1, digest: sha, inboxSequence: 0 };
const nested = (depth: number): string => `${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`;
/** Each with the code that it is passed over for. */
const GARBAGE: readonly (readonly [string, string])[] = [
  ["a: [b c", "not_json"],
  ["", "not_json"],
  ["null", "wrong_shape"],
  ["{}", "wrong_shape"],
  [JSON.stringify({ ...common, changes: [{ key: "no key", after: {} }] }), "wrong_shape"],
  [JSON.stringify({ ...common, changes: [{ key: "Service/default/x", after: "text" }] }), "wrong_shape"],
  [JSON.stringify({ ...common, previous: -1, changes: [] }), "wrong_shape"],
  [JSON.stringify({ ...common, previous: 99, revision: 7, changes: [] }), "wrong_shape"],
  [JSON.stringify({ ...common, inboxSequence: 1e300, changes: [] }), "wrong_shape"],
  [JSON.stringify({ ...common, object: sha }), "object_lost"],
  [nested(CONTROL_LIMITS.storedDepth), "wrong_shape"],
  [nested(CONTROL_LIMITS.storedDepth + 1), "too_deep"],
  [nested(5_000), "too_deep"],
];

async function startPlane(url: string, id: string, log: Log = SILENT_LOG): Promise<CreatedControlPlane> {
  const plane = createControlPlane({
    backend: { kind: "nats", address: { servers: [url] }, id, ackWaitMs: 1_000 },
    ...{ modules: builtinModules(new Map()), version: "test", clock: new SystemClock(), rng: systemRng(), log },
  });
  await plane.start();
  return plane;
}

async function applyOk(plane: CreatedControlPlane, text: string): Promise<number> {
  const outcome = await plane.apply({ text, author: "test", origin: "file" });
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.revision;
}

/** Both have the same, in memory and as a third finds it. */
async function agree(url: string, one: CreatedControlPlane, other: CreatedControlPlane): Promise<void> {
  await until(() => one.status().revision === other.status().revision);
  const late = await startPlane(url, "late");
  try {
    for (const plane of [other, late]) {
      assert.equal(plane.status().digest, one.status().digest);
      assert.deepEqual(plane.get(), one.get());
      assert.deepEqual(await plane.history(), await one.history());
      assert.deepEqual(plane.status().issues, []);
    }
  } finally {
    await late.stop();
  }
}

describe("stored messages that cannot be read", () => {
  test("in the log: applies, rollback, restart, backup and restore go on, and two control planes agree", async () => {
    const server = await startNats();
    const lines: string[] = [];
    const log: Log = { ...SILENT_LOG, error: (message, fields) => void lines.push(`${message} ${JSON.stringify(fields)}`) };
    let one = await startPlane(server.url, "one", log);
    const other = await startPlane(server.url, "other");
    const connection = await connectNats({ servers: [server.url] }, "stranger");
    const client = jetstream(connection);
    try {
      const first = await applyOk(one, service("a", 1));
      const sequences: number[] = [];
      for (const [text] of GARBAGE) sequences.push((await client.publish(NATS_NAMES.log, text)).seq);
      const second = await applyOk(one, service("b", 2));
      assert.ok(second > first);
      await until(() => other.status().revision === second);
      // One more between every two entries, and the other control plane writes.
      await client.publish(NATS_NAMES.log, "x");
      const third = await applyOk(other, service("a", 3));
      await agree(server.url, one, other);

      const named = one.status().unreadable;
      const codes = new Map(named.filter(({ where }) => where === "log").map(({ sequence, code }) => [sequence, code as string]));
      assert.deepEqual(
        sequences.map((sequence) => codes.get(sequence)),
        GARBAGE.map(([, code]) => code),
      );
      assert.equal(lines.filter((line) => line.includes(`"sequence":${sequences[0]},`)).length, 1, "once in the log");

      await client.publish(NATS_NAMES.log, "{");
      const rolledBack = await one.rollback(first, "test");
      assert.ok(rolledBack.ok && rolledBack.revision > third, JSON.stringify(rolledBack));
      await client.publish(NATS_NAMES.log, "[]");
      await one.stop();
      one = await startPlane(server.url, "one");
      assert.deepEqual(
        one.get().map(({ key }) => key),
        ["Service/default/a"],
      );
      assert.ok(one.status().unreadable.length > 0);
      const backup = await one.backup();
      await applyOk(one, service("c", 4));
      await client.publish(NATS_NAMES.log, "[]");
      const restored = await other.restore(backup, "test");
      assert.ok(restored.ok, JSON.stringify(restored));
      await agree(server.url, one, other);
      assert.deepEqual(
        one.get().map(({ key }) => key),
        ["Service/default/a"],
      );
    } finally {
      await connection.close();
      await one.stop();
      await other.stop();
      await server.stop();
    }
  });

  test("so many that no entry is left in the log: the view has it all, and revisions go on upwards", async () => {
    const server = await startNats();
    const one = await startPlane(server.url, "one");
    const other = await startPlane(server.url, "other");
    const connection = await connectNats({ servers: [server.url] }, "stranger");
    try {
      const first = await applyOk(one, service("a", 1));
      await until(() => other.status().revision === first);
      // Written is the view behind the apply's answer.
      const bucket = await new Kvm(connection).open(NATS_NAMES.configBucket);
      await until(async () => (await bucket.get("_checkpoint"))?.json<{ revision: number }>().revision === first);
      const client = jetstream(connection);
      for (let i = 0; i <= CONFIG_LIMITS.history; i++) await client.publish(NATS_NAMES.log, "x");
      const second = await applyOk(other, service("b", 2));
      assert.ok(second > first);
      await until(() => one.status().revision === second);
      assert.ok((await applyOk(one, service("c", 3))) > second);
      await agree(server.url, one, other);
      assert.equal(one.get().length, 3);
      assert.ok(one.status().unreadable.length <= CONTROL_LIMITS.unreadable);
    } finally {
      await connection.close();
      await one.stop();
      await other.stop();
      await server.stop();
    }
  });

  test("in the buckets: a value, a key, the checkpoint and a manifest", async () => {
    const server = await startNats();
    let plane = await startPlane(server.url, "one");
    const connection = await connectNats({ servers: [server.url] }, "stranger");
    try {
      const first = await applyOk(plane, service("a", 1));
      const view = await new Kvm(connection).open(NATS_NAMES.configBucket);
      await until(async () => (await view.get("_checkpoint"))?.json<{ revision: number }>().revision === first);
      await plane.stop();
      const bad = [
        await view.put("Service/default/bad", "a: [b c"),
        await view.put("Service/default/lost", JSON.stringify({ revision: 1, object: sha })),
        await view.put("stranger", "{}"),
        await view.put("_checkpoint", "[]"),
      ];
      const snapshots = await new Kvm(connection).open(NATS_NAMES.snapshotBucket);
      const manifest = await snapshots.put("gateway", "no manifest");
      plane = await startPlane(server.url, "one");
      assert.deepEqual(
        plane.get().map(({ key }) => key),
        ["Service/default/a"],
      );
      assert.ok((await applyOk(plane, service("b", 2))) > first);
      const named = plane.status().unreadable.map(({ where, sequence, code }) => `${where} ${sequence} ${code}`);
      for (const each of [
        ...[`view ${bad[0]} not_json`, `view ${bad[1]} object_lost`, `view ${bad[2]} wrong_shape`, `view ${bad[3]} wrong_shape`],
        `snapshot ${manifest} wrong_shape`,
      ])
        assert.ok(named.includes(each), `${each} in ${named.join(", ")}`);
      // The manifest was written over.
      const stored = await (await jetstreamManager(connection)).streams.getMessage(`KV_${NATS_NAMES.snapshotBucket}`, {
        last_by_subj: `$KV.${NATS_NAMES.snapshotBucket}.gateway`,
      });
      assert.equal(stored?.json<{ revision: number }>().revision, plane.status().revision);
    } finally {
      await connection.close();
      await plane.stop();
      await server.stop();
    }
  });
});
