import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { HOLDER_FILE, LOCK_FILE, placeFile } from "../../runtime/files.ts";
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
  /** Names of what the last write left there; undefined: not known. */
  #present: ReadonlySet<string> | undefined;

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

  /** Rejects when the disk is full or not writable. One at a time. */
  async write(stored: StoredSnapshot): Promise<void> {
    const known = this.#present;
    this.#present = undefined;
    try {
      this.#present = await this.#write(stored, known ?? (await this.#list()));
    } catch (error) {
      // Somebody may have taken away what we had put there.
      if (known === undefined) throw error;
      this.#present = await this.#write(stored, await this.#list());
    }
  }

  async #list(): Promise<ReadonlySet<string>> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    // Not what others keep here: rewritten modules, logs, whose folder it is.
    const files = await readdir(this.folder, { withFileTypes: true });
    return new Set(
      files.filter((each) => each.isFile() && each.name !== LOCK_FILE && each.name !== HOLDER_FILE).map((each) => each.name),
    );
  }

  /** Resolves with the names of what is there then. */
  async #write(stored: StoredSnapshot, present: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    const wanted = new Set([MANIFEST]);
    for (const digest of digestsOf(stored.manifest)) {
      const name = fileName(digest);
      const content = stored.bytes.get(digest);
      wanted.add(name);
      if (content !== undefined && !present.has(name)) await placeFile(join(this.folder, name), content, true);
    }
    await placeFile(join(this.folder, MANIFEST), JSON.stringify(stored.manifest), true);
    for (const name of present) if (!wanted.has(name)) await rm(join(this.folder, name), { force: true });
    return wanted;
  }
}

const fileName = (digest: string): string => digest.replace(":", "-");
