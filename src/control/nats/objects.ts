import type { JetStreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { type ObjectStore, Objm } from "@nats-io/obj";
import { sha256Digest } from "../../config/canonical.ts";
import { NATS_NAMES } from "../../config/nats/names.ts";
import { base64Url, readObject } from "../../config/nats/objects.ts";
import { moduleName, seal, sealedName, unseal } from "../../config/nats/seal.ts";

/** Fits a message (1 MB by default) with room for headers. */
const CHUNK_BYTES = 512 * 1024;

const STREAM = `OBJ_${NATS_NAMES.objectBucket}`;
const chunkSubject = (nuid: string): string => `$O.${NATS_NAMES.objectBucket}.C.${nuid}`;
const metaSubject = (name: string): string => `$O.${NATS_NAMES.objectBucket}.M.${base64Url(name)}`;

export interface StoredObject {
  readonly name: string;
  /** Identity of its chunks. */
  readonly nuid: string;
  readonly mtimeMs: number;
  readonly bytes: number;
  /** Of the message that describes it. */
  readonly sequence: number;
}

/** The control plane's side of the object store: writes and deletes. */
export class NatsObjects {
  #store: ObjectStore | undefined;

  constructor(
    readonly connection: NatsConnection,
    readonly manager: JetStreamManager,
    readonly replicas: number,
  ) {}

  async open(): Promise<void> {
    this.#store = await new Objm(this.connection).create(NATS_NAMES.objectBucket, {
      description: "Selvedge: sealed sections of snapshots, WASM modules",
      replicas: this.replicas,
    });
  }

  /** Stores bytes that only who knows their digest can find and open; resolves with the digest. */
  async putSealed(bytes: Uint8Array): Promise<string> {
    const digest = sha256Digest(bytes);
    await this.#put(sealedName(digest), seal(bytes, digest));
    return digest;
  }

  /** Rejects when there is no such object or it was altered. */
  async getSealed(digest: string): Promise<Uint8Array> {
    const bytes = await this.findSealed(digest);
    if (bytes === undefined) throw new Error(`object ${digest} is not in the object store`);
    return bytes;
  }

  /** Undefined: there is no such object. Rejects when it was altered. */
  async findSealed(digest: string): Promise<Uint8Array | undefined> {
    const sealed = await readObject(this.connection, sealedName(digest));
    return sealed === undefined ? undefined : unseal(sealed, digest);
  }

  /** Undefined: there is no such object, or it was altered. */
  async readSealed(digest: string): Promise<Uint8Array | undefined> {
    const sealed = await readObject(this.connection, sealedName(digest));
    if (sealed === undefined) return undefined;
    try {
      return unseal(sealed, digest);
    } catch {
      return undefined;
    }
  }

  async putModule(digest: string, bytes: Uint8Array): Promise<void> {
    await this.#put(moduleName(digest), bytes);
  }

  async getModule(digest: string): Promise<Uint8Array | undefined> {
    const bytes = await readObject(this.connection, moduleName(digest));
    return bytes === undefined || sha256Digest(bytes) !== digest ? undefined : bytes;
  }

  /** Digests of the modules, in order. */
  async listModules(): Promise<readonly string[]> {
    const names = (await this.#opened().list()).map(({ name }) => name);
    return names.filter((name) => name.startsWith("sha256:")).sort();
  }

  /** All objects that are there. */
  async list(): Promise<readonly StoredObject[]> {
    const infos = await this.#opened().list();
    return infos.map(({ name, nuid, mtime, size, revision }) => ({
      name,
      nuid,
      mtimeMs: Date.parse(mtime),
      bytes: size,
      sequence: revision,
    }));
  }

  /** Removes exactly this version: one that was written again meanwhile stays. */
  async remove(object: StoredObject): Promise<void> {
    const filter = metaSubject(object.name);
    await this.manager.streams.purge(STREAM, { filter, seq: object.sequence + 1 });
    await this.manager.streams.purge(STREAM, { filter: chunkSubject(object.nuid) });
  }

  /** Removes chunks whose object was never finished, or was overwritten by two writers at once, when older than `beforeMs`. */
  async removeOrphans(known: readonly StoredObject[], beforeMs: number): Promise<number> {
    const owned = new Set(known.map((each) => chunkSubject(each.nuid)));
    const info = await this.manager.streams.info(STREAM, { subjects_filter: chunkSubject(">") });
    let removed = 0;
    for (const subject of Object.keys(info.state.subjects ?? {})) {
      if (owned.has(subject)) continue;
      const last = await this.manager.streams.getMessage(STREAM, { last_by_subj: subject });
      if (last === null || last.time.getTime() >= beforeMs) continue;
      await this.manager.streams.purge(STREAM, { filter: subject });
      removed++;
    }
    return removed;
  }

  /** Written again even when it is there: a new time keeps the garbage collection of another control plane away from it. */
  async #put(name: string, bytes: Uint8Array): Promise<void> {
    await this.#opened().putBlob({ name, options: { max_chunk_size: CHUNK_BYTES } }, bytes);
  }

  #opened(): ObjectStore {
    if (this.#store === undefined) throw new Error("the object store is not open");
    return this.#store;
  }
}
