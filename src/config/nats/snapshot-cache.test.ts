import { expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Digest } from "../canonical.ts";
import { SnapshotCache, type StoredSnapshot } from "./snapshot-cache.ts";

function stored(revision: number, ...texts: string[]): StoredSnapshot {
  const bytes = new Map(texts.map((text) => [sha256Digest(text), new TextEncoder().encode(text)]));
  const sections = Object.fromEntries([...bytes.keys()].map((digest, i) => [`routes-${i}`, digest]));
  const manifest = { revision, digest: sha256Digest(""), group: "gateway", sections, modules: [], publishedAtMs: 0 };
  return { manifest, bytes };
}

test("what is written is read, what is no longer named goes, and a folder that was taken away is made anew", async () => {
  const folder = join(await mkdtemp(join(tmpdir(), "selvedge-cache-")), "cache");
  try {
    const cache = new SnapshotCache(folder);
    expect(await cache.read()).toBeUndefined();
    for (const each of [stored(1, "a", "b"), stored(2, "b", "c"), stored(3, "c")]) {
      await cache.write(each);
      expect((await cache.read())?.manifest).toEqual(each.manifest);
      expect((await readdir(folder)).length).toBe(1 + each.bytes.size);
    }
    await rm(folder, { recursive: true });
    await cache.write(stored(4, "c", "d"));
    expect((await cache.read())?.manifest.revision).toBe(4);
    // Another process begins where this one stopped.
    await new SnapshotCache(folder).write(stored(5, "e"));
    expect((await readdir(folder)).length).toBe(2);
  } finally {
    await rm(join(folder, ".."), { recursive: true, force: true });
  }
});
