import { expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
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

test("what cannot be written leaves nothing behind, and what others keep there stays", async () => {
  const folder = await mkdtemp(join(tmpdir(), "selvedge-cache-"));
  try {
    const cache = new SnapshotCache(folder);
    const [digest] = stored(1, "a").bytes.keys();
    // Folders: of somebody else, and where a section should be, so that the last step fails as on a full disk.
    await mkdir(join(folder, "modules"));
    await writeFile(join(folder, "lock"), "");
    await mkdir(join(folder, (digest ?? "").replace(":", "-")));
    await expect(cache.write(stored(1, "a"))).rejects.toThrow();
    expect((await readdir(folder)).length).toBe(3);
    await cache.write(stored(2, "b"));
    await cache.write(stored(3, "c"));
    expect((await readdir(folder)).length).toBe(5);
    expect(await readdir(folder)).toContain("lock");
    expect((await cache.read())?.manifest.revision).toBe(3);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
