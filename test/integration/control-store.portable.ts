/** Seam 9: one contract for the memory store and the store on JetStream. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Digest } from "../../src/config/canonical.ts";
import { connectNats } from "../../src/config/nats/connect.ts";
import { NatsLink } from "../../src/control/nats/link.ts";
import { MemoryStore } from "../../src/control/store/memory.ts";
import { NatsStore } from "../../src/control/store/nats.ts";
import { folderPersistence } from "../../src/control/store/persistence.ts";
import type { Change, ConfigStore, NewLogEntry } from "../../src/control/store/store.ts";
import { type NatsServer, startNats } from "../kit/nats.ts";
import { afterAll, beforeAll, describe, test } from "../kit/suite.ts";

const resource = (name: string, value: string | number) => ({
  apiVersion: "selvedge.dev/v1",
  kind: "Route",
  metadata: { name },
  spec: { value },
});
const put = (name: string, value: string | number): Change => ({ key: `Route/default/${name}`, after: resource(name, value) });
const remove = (name: string): Change => ({ key: `Route/default/${name}`, before: resource(name, 0) });
const entry = (inboxSequence: number, ...changes: Change[]): NewLogEntry => ({
  ...{
    author: "ann",
    origin: "api",
    timeMs: 1_700_000_000_000 + inboxSequence,
    digest: sha256Digest(new Uint8Array([inboxSequence])),
  },
  ...{ inboxSequence, changes },
});

interface Maker {
  /** Another store over the same data. */
  open(): Promise<ConfigStore>;
  /** Throws away all data. */
  wipe(): Promise<void>;
  end(): Promise<void>;
}

async function memoryMaker(): Promise<Maker> {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-store-"));
  return {
    open: async () => opened(new MemoryStore(folderPersistence(folder))),
    wipe: () => rm(folder, { recursive: true, force: true }),
    end: () => rm(folder, { recursive: true, force: true }),
  };
}

async function natsMaker(): Promise<Maker> {
  let server: NatsServer = await startNats();
  const connections: Awaited<ReturnType<typeof connectNats>>[] = [];
  const closeAll = async () => {
    for (const each of connections.splice(0)) await each.close();
  };
  return {
    open: async () => {
      const connection = await connectNats({ servers: [server.url] }, "control-test");
      connections.push(connection);
      return opened(new NatsStore(new NatsLink(async () => connection)));
    },
    wipe: async () => {
      await closeAll();
      await server.stop();
      server = await startNats();
    },
    end: async () => {
      await closeAll();
      await server.stop();
    },
  };
}

async function opened(store: ConfigStore): Promise<ConfigStore> {
  await store.open();
  return store;
}

async function appendOk(store: ConfigStore, next: NewLogEntry, expected: number): Promise<number> {
  const result = await store.append(next, expected);
  assert.equal(result.ok, true);
  const revision = result.ok ? result.value : 0;
  const [stored] = await store.readAfter(expected);
  assert.ok(stored);
  await store.writeView(stored);
  return revision;
}

for (const [name, make] of [
  ["memory", memoryMaker],
  ["nats", natsMaker],
] as const) {
  describe(`config store: ${name}`, () => {
    let maker: Maker;
    beforeAll(async () => {
      maker = await make();
    });
    afterAll(() => maker.end());

    test("starts empty, at revision 0", async () => {
      const store = await maker.open();
      const state = await store.load();
      assert.equal(state.revision, 0);
      assert.equal(state.resources.size, 0);
      assert.deepEqual(await store.history(), []);
      assert.equal(await store.viewRevision(), 0);
      await store.close();
    });

    test("keeps what was appended, for another store as well", async () => {
      await maker.wipe();
      const store = await maker.open();
      const first = await appendOk(store, entry(1, put("a", 1), put("b", 1)), 0);
      const second = await appendOk(store, entry(2, put("a", 2), remove("b"), put("c", 3)), first);
      assert.ok(second > first);
      await store.close();
      const again = await maker.open();
      const state = await again.load();
      assert.equal(state.revision, second);
      assert.equal(state.inboxSequence, 2);
      assert.equal(state.digest, entry(2).digest);
      assert.deepEqual([...state.resources.keys()].sort(), ["Route/default/a", "Route/default/c"]);
      assert.deepEqual(state.resources.get("Route/default/a"), {
        key: "Route/default/a",
        revision: second,
        written: resource("a", 2),
      });
      await again.close();
    });

    test("a deleted resource can come back", async () => {
      await maker.wipe();
      const store = await maker.open();
      const first = await appendOk(store, entry(1, put("a", 1)), 0);
      const second = await appendOk(store, entry(2, remove("a")), first);
      const third = await appendOk(store, entry(3, put("a", 3)), second);
      const fourth = await appendOk(store, entry(4, remove("a")), third);
      assert.equal((await store.load()).resources.size, 0);
      await appendOk(store, entry(5, put("a", 5)), fourth);
      assert.equal((await store.load()).resources.size, 1);
      await store.close();
    });

    test("refuses an append that does not know the last entry", async () => {
      await maker.wipe();
      const store = await maker.open();
      const first = await appendOk(store, entry(1, put("a", 1)), 0);
      for (const stale of [0, first + 1, first + 100]) {
        const result = await store.append(entry(2, put("a", 2)), stale);
        assert.deepEqual(result, { ok: false, error: { kind: "conflict" } });
      }
      assert.equal((await store.history()).length, 1);
      await store.close();
    });

    test("of ten appends at once exactly one wins", async () => {
      await maker.wipe();
      const store = await maker.open();
      const results = await Promise.all(Array.from({ length: 10 }, (_, i) => store.append(entry(i + 1, put("a", i)), 0)));
      assert.equal(results.filter((result) => result.ok).length, 1);
      await store.close();
    });

    test("readAfter gives what is newer, oldest first, linked by `previous`", async () => {
      await maker.wipe();
      const store = await maker.open();
      let revision = 0;
      const revisions: number[] = [0];
      for (let i = 1; i <= 3; i++) {
        revision = await appendOk(store, entry(i, put("a", i)), revision);
        revisions.push(revision);
      }
      const entries = await store.readAfter(revisions[1] ?? 0);
      assert.deepEqual(
        entries.map((each) => each.revision),
        revisions.slice(2),
      );
      assert.deepEqual(
        entries.map((each) => each.previous),
        revisions.slice(1, 3),
      );
      await store.close();
    });

    test("history has the last 64, newest first", async () => {
      await maker.wipe();
      const store = await maker.open();
      let revision = 0;
      for (let i = 1; i <= 70; i++) revision = await appendOk(store, entry(i, put("a", i)), revision);
      const history = await store.history();
      assert.equal(history.length, 64);
      assert.equal(history[0]?.revision, revision);
      assert.equal(history[63]?.inboxSequence, 7);
      await store.close();
    });

    test("an entry of several megabytes and a resource of one and a half", async () => {
      await maker.wipe();
      const store = await maker.open();
      const big = "x".repeat(1_500_000);
      const revision = await appendOk(store, entry(1, put("a", big), put("b", big)), 0);
      const state = await store.load();
      assert.deepEqual(state.resources.get("Route/default/a")?.written, resource("a", big));
      assert.deepEqual((await store.readAfter(0))[0]?.changes, [put("a", big), put("b", big)]);
      assert.equal(state.revision, revision);
      await store.close();
    });

    test("writing the view twice changes nothing", async () => {
      await maker.wipe();
      const store = await maker.open();
      const first = await appendOk(store, entry(1, put("a", 1), put("b", 1)), 0);
      await appendOk(store, entry(2, remove("a"), put("b", 2)), first);
      for (const each of await store.readAfter(0)) await store.writeView(each);
      const other = await maker.open();
      for (const each of await other.readAfter(0)) await other.writeView(each);
      const state = await other.load();
      assert.deepEqual(
        [...state.resources.values()].map((each) => each.written),
        [resource("b", 2)],
      );
      await store.close();
      await other.close();
    });

    test("modules are kept by digest", async () => {
      await maker.wipe();
      const store = await maker.open();
      const bytes = new Uint8Array(700_000).fill(7);
      await store.putModule(sha256Digest(bytes), bytes);
      const again = await maker.open();
      assert.deepEqual(await again.getModule(sha256Digest(bytes)), bytes);
      assert.equal(await again.getModule(sha256Digest(new Uint8Array([1]))), undefined);
      await store.close();
      await again.close();
    });
  });
}

describe("config store: nats, several at once", () => {
  let maker: Maker;
  beforeAll(async () => {
    maker = await natsMaker();
  });
  afterAll(() => maker.end());

  test("the view is repaired from the log when its writer died after the append, or half-way", async () => {
    const store = await maker.open();
    const first = await appendOk(store, entry(1, put("a", 1), put("b", 1)), 0);
    // Died right after the append: no key, no checkpoint.
    const result = await store.append(entry(2, put("a", 2), remove("b"), put("c", 2)), first);
    assert.ok(result.ok);
    await store.close();
    const again = await maker.open();
    const state = await again.load();
    assert.equal(state.revision, result.value);
    assert.deepEqual([...state.resources.keys()].sort(), ["Route/default/a", "Route/default/c"]);
    assert.equal(await again.viewRevision(), result.value);
    await again.close();
  });

  test("a writer that slept through a newer entry does not put its old values over it", async () => {
    await maker.wipe();
    const sleeper = await maker.open();
    const first = await appendOk(sleeper, entry(1, put("a", 1), put("b", 1), put("d", 1)), 0);
    const slept = await sleeper.append(entry(2, put("a", 2), put("b", 2), remove("d")), first);
    assert.ok(slept.ok);
    const [missed] = await sleeper.readAfter(first);
    assert.ok(missed);
    // Another one repairs the view and goes on.
    const other = await maker.open();
    await other.load();
    const third = await appendOk(other, entry(3, put("a", 3), remove("b"), put("d", 3)), slept.value);
    // Now the sleeper wakes up in the middle of its work.
    await sleeper.writeView(missed);
    const state = await (await maker.open()).load();
    assert.equal(state.revision, third);
    assert.deepEqual(
      [...state.resources.values()].map((each) => each.written),
      [resource("a", 3), resource("d", 3)],
    );
  });

  test("a watcher hears of another's append", async () => {
    await maker.wipe();
    const watcher = await maker.open();
    const writer = await maker.open();
    const { promise: heard, resolve } = Promise.withResolvers<void>();
    await watcher.watch(() => resolve());
    await appendOk(writer, entry(1, put("a", 1)), 0);
    await heard;
    await watcher.close();
    await writer.close();
  });
});
