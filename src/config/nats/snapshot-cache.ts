import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Digest } from "../canonical.ts";
import type { Manifest } from "../sections.ts";
import { digestsOf, parseManifest } from "./manifest.ts";

/** A manifest with all bytes that it names: sections and modules by digest. */
export interface StoredSnapshot {
  readonly manifest: Manifest;
  readonly bytes: ReadonlyMap<string, Uint8Array>;
}

const MANIFEST = "manifest.json";

/**
 * The last good snapshot on disk: `manifest.json` and one file per section and module, named by digest. The manifest is
 * renamed into place last, so that a crash leaves the old or the new one, whole. Only the owner may read: sections hold
 * private keys.
 */
export class SnapshotCache {
  constructor(readonly folder: string) {}

  /** Undefined: there is none, or what is there is damaged. */
  async read(): Promise<StoredSnapshot | undefined> {
    try {
      const manifest = parseManifest(await readFile(join(this.folder, MANIFEST)));
      const bytes = new Map<string, Uint8Array>();
      for (const digest of digestsOf(manifest)) {
        const content = new Uint8Array(await readFile(join(this.folder, fileName(digest))));
        if (sha256Digest(content) !== digest) return undefined;
        bytes.set(digest, content);
      }
      return { manifest, bytes };
    } catch {
      return undefined;
    }
  }

  /** Rejects when the disk is full or not writable. */
  async write(stored: StoredSnapshot): Promise<void> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const present = new Set(await readdir(this.folder));
    const wanted = new Set([MANIFEST]);
    for (const digest of digestsOf(stored.manifest)) {
      const name = fileName(digest);
      const content = stored.bytes.get(digest);
      wanted.add(name);
      if (content !== undefined && !present.has(name)) await this.#place(name, content);
    }
    await this.#place(MANIFEST, JSON.stringify(stored.manifest));
    for (const name of present) if (!wanted.has(name)) await rm(join(this.folder, name), { force: true });
  }

  async #place(name: string, content: Uint8Array | string): Promise<void> {
    const temporary = join(this.folder, `${name}.new`);
    await writeFile(temporary, content, { mode: 0o600, flush: true });
    await rename(temporary, join(this.folder, name));
  }
}

const fileName = (digest: string): string => digest.replace(":", "-");
