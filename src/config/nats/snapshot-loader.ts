import type { NatsConnection } from "@nats-io/nats-core";
import { sha256Digest } from "../canonical.ts";
import { SectionJoiner } from "../section-joiner.ts";
import type { Manifest } from "../sections.ts";
import type { Snapshot } from "../snapshot.ts";
import type { SnapshotUpdate } from "../source.ts";
import { type Announcement, digestsOf } from "./manifest.ts";
import { readObject } from "./objects.ts";
import { moduleName, sealedName, unseal } from "./seal.ts";

/** Objects fetched at once. */
const PARALLEL = 8;

/** Keeps the sections and modules of the current snapshot and fetches only what a new manifest names besides. */
export class SnapshotLoader {
  /** Each compared with its digest when it came. */
  #known = new Map<string, Uint8Array>();
  readonly #joiner = new SectionJoiner(true);
  #last: Snapshot | undefined;

  /** `bytes` fit their digests. */
  remember(bytes: ReadonlyMap<string, Uint8Array>): void {
    for (const [digest, content] of bytes) this.#known.set(digest, content);
  }

  /** Rejects when something is missing, is not what its digest says, or NATS does not answer. */
  async fetch(connection: NatsConnection, announcement: Announcement): Promise<void> {
    if (this.take(announcement)) return;
    const { manifest } = announcement;
    const modules = new Set(manifest.modules);
    const missing = [...new Set(digestsOf(manifest))].filter((digest) => !this.#known.has(digest));
    const next = async (): Promise<void> => {
      for (let digest = missing.pop(); digest !== undefined; digest = missing.pop())
        this.#known.set(
          digest,
          modules.has(digest) ? await readModule(connection, digest) : await readSection(connection, digest),
        );
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, missing.length) }, next));
  }

  /** Takes what travelled inside. True: nothing that the manifest names has to be fetched besides. */
  take({ manifest, inline }: Announcement): boolean {
    for (const [digest, content] of inline) this.#known.set(digest, content);
    return this.has(manifest);
  }

  has({ sections, modules }: Manifest): boolean {
    for (const name in sections) if (!this.#known.has(sections[name] ?? "")) return false;
    return modules.every((digest) => this.#known.has(digest));
  }

  /** Throws an `Error` when a section is missing or damaged. Forgets what the manifest does not name. */
  join(manifest: Manifest): SnapshotUpdate {
    // An apply that does not concern this group changes only the revision.
    const snapshot =
      this.#last?.digest === manifest.digest
        ? { ...this.#last, revision: manifest.revision }
        : this.#joiner.join(manifest, (digest) => this.#known.get(digest));
    this.#last = snapshot;
    this.#known = this.#bytesOf(manifest);
    const modules = new Map<string, Uint8Array>();
    for (const digest of manifest.modules) {
      const content = this.#known.get(digest);
      if (content === undefined) throw new Error(`module ${digest} is missing`);
      modules.set(digest, content);
    }
    const publishedAtMs = manifest.publishedAtMs === 0 ? undefined : manifest.publishedAtMs;
    return { snapshot, modules, publishedAtMs, cut: { manifest, sections: this.#known } };
  }

  /** All that the manifest joined last names, by digest, and what came since. */
  get known(): ReadonlyMap<string, Uint8Array> {
    return this.#known;
  }

  #bytesOf(manifest: Manifest): Map<string, Uint8Array> {
    const bytes = new Map<string, Uint8Array>();
    const keep = (digest: string | undefined): void => {
      const content = this.#known.get(digest ?? "");
      if (digest !== undefined && content !== undefined) bytes.set(digest, content);
    };
    for (const name in manifest.sections) keep(manifest.sections[name]);
    for (const digest of manifest.modules) keep(digest);
    return bytes;
  }
}

/** The store answered, and what it has is not what was asked for. */
export class MissingObject extends Error {}

async function readSection(connection: NatsConnection, digest: string): Promise<Uint8Array> {
  const sealed = await readObject(connection, sealedName(digest));
  if (sealed === undefined) throw new MissingObject(`section ${digest} is not in the object store`);
  return unseal(sealed, digest);
}

async function readModule(connection: NatsConnection, digest: string): Promise<Uint8Array> {
  const bytes = await readObject(connection, moduleName(digest));
  if (bytes === undefined) throw new MissingObject(`module ${digest} is not in the object store`);
  if (sha256Digest(bytes) !== digest) throw new MissingObject(`module ${digest} was altered`);
  return bytes;
}
