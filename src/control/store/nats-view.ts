import { type KV, type KvEntry, Kvm } from "@nats-io/kv";
import { NATS_NAMES } from "../../config/nats/names.ts";
import type { Json } from "../../config/parse.ts";
import { parseKey, type ResourceKey, type StoredResource } from "../model/resource.ts";
import { isWrongSequence } from "../nats/errors.ts";
import type { NatsLink } from "../nats/link.ts";
import { UnreadableError } from "../nats/unreadable.ts";
import type { Change, LogEntry } from "./store.ts";
import { type Checkpoint, readCheckpoint, readViewValue, readWritten, type ViewValue } from "./stored.ts";

const CHECKPOINT = "_checkpoint";
/** Writes on the way at once. */
const PARALLEL = 64;
/** A larger resource lies in the object store. */
export const SPILL_BYTES = 256 * 1024;
const CONFLICT_TRIES = 16;

/** What we know about a key in the bucket: the sequence to compare with, and the revision that wrote it. */
interface Known {
  readonly sequence: number;
  readonly revision: number;
}

const EMPTY_CHECKPOINT: Checkpoint = { revision: 0, digest: "", timeMs: 0, inboxSequence: 0 };

/**
 * The current resources in the bucket `selvedge_config`, one key each, so that operators can look and tools can watch. Every
 * write compares with the sequence last seen: a control plane that was asleep in the middle of an entry cannot put an old
 * value over a newer one. The checkpoint is written after all keys of an entry.
 */
export class NatsView {
  #bucket: KV | undefined;
  readonly #known = new Map<string, Known>();

  constructor(readonly link: NatsLink) {}

  async open(): Promise<void> {
    this.#bucket = await new Kvm(this.link.parts.client).create(NATS_NAMES.configBucket, {
      description: "Selvedge: current resources, a view of the log",
      // Compare-and-set needs the leader's answer, not a replica's.
      ...{ history: 1, replicas: this.link.replicas, allow_direct: false },
    });
  }

  /** All resources, some of which may already be newer than the checkpoint: the log's tail must be applied over them. */
  async read(): Promise<{ readonly checkpoint: Checkpoint; readonly resources: Map<ResourceKey, StoredResource> }> {
    const checkpoint = await this.readCheckpoint();
    const resources = new Map<ResourceKey, StoredResource>();
    this.#known.clear();
    for await (const entry of await this.#kv().history()) {
      if (entry.key === CHECKPOINT) continue;
      const value = this.#valueOf(entry);
      this.#known.set(entry.key, { sequence: entry.revision, revision: value?.revision ?? 0 });
      const written = value === undefined ? undefined : await this.#writtenOf(entry, value);
      if (value === undefined || written === undefined) resources.delete(entry.key);
      else resources.set(entry.key, { key: entry.key, revision: value.revision, written });
    }
    return { checkpoint, resources };
  }

  async readCheckpoint(): Promise<Checkpoint> {
    const entry = await this.#kv().get(CHECKPOINT);
    if (entry === null) return EMPTY_CHECKPOINT;
    this.#known.set(CHECKPOINT, { sequence: entry.revision, revision: 0 });
    // Without one everything that the log still has is applied over the view.
    return this.#checked(entry, readCheckpoint) ?? EMPTY_CHECKPOINT;
  }

  async write(entry: LogEntry): Promise<void> {
    const rest = [...entry.changes];
    const next = async (): Promise<void> => {
      for (let change = rest.pop(); change !== undefined; change = rest.pop()) await this.#writeChange(entry.revision, change);
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, rest.length) }, next));
    await this.#writeCheckpoint(entry);
  }

  async #writeChange(revision: number, change: Change): Promise<void> {
    for (let attempt = 0; attempt < CONFLICT_TRIES; attempt++) {
      let known = this.#known.get(change.key);
      if (known !== undefined && known.revision >= revision) return;
      if (change.after === undefined && (known?.sequence ?? 0) === 0) {
        // A deletion that compares with nothing would be unconditional.
        if (await this.#isOvertaken(revision, change.key)) return;
        known = this.#known.get(change.key);
        if ((known?.sequence ?? 0) === 0) return;
      }
      try {
        const sequence = await this.#put(change, revision, known?.sequence ?? 0);
        this.#known.set(change.key, { sequence, revision });
        return;
      } catch (error) {
        if (!isWrongSequence(error)) throw error;
        if (await this.#isOvertaken(revision, change.key)) return;
      }
    }
    throw new Error(`the view of ${change.key} changes all the time`);
  }

  async #put(change: Change, revision: number, previousSeq: number): Promise<number> {
    if (change.after === undefined) {
      await this.#kv().delete(change.key, { previousSeq });
      // The marker's sequence is not told: the next write of this key finds it out.
      return 0;
    }
    const written = JSON.stringify(change.after);
    const value: ViewValue =
      written.length < SPILL_BYTES
        ? { revision, written: change.after }
        : { revision, object: await this.link.parts.objects.putSealed(new TextEncoder().encode(written)) };
    return this.#kv().put(change.key, JSON.stringify(value), { previousSeq });
  }

  /**
   * Learns the key's sequence; true when it holds this revision or a newer one. A deletion carries no revision, but whoever
   * writes an entry has written the checkpoint of the one before: read after the key, it decides.
   */
  async #isOvertaken(revision: number, key: string): Promise<boolean> {
    const current = await this.#kv().get(key);
    const value = current === null ? undefined : this.#valueOf(current);
    this.#known.set(key, { sequence: current?.revision ?? 0, revision: value?.revision ?? 0 });
    if (value !== undefined && value.revision >= revision) return true;
    return (await this.readCheckpoint()).revision >= revision;
  }

  async #writeCheckpoint(entry: LogEntry): Promise<void> {
    const { revision, digest, timeMs, inboxSequence } = entry;
    const checkpoint: Checkpoint = { revision, digest, timeMs, inboxSequence };
    for (let attempt = 0; attempt < CONFLICT_TRIES; attempt++) {
      const previousSeq = this.#known.get(CHECKPOINT)?.sequence ?? 0;
      try {
        const sequence = await this.#kv().put(CHECKPOINT, JSON.stringify(checkpoint), { previousSeq });
        this.#known.set(CHECKPOINT, { sequence, revision: 0 });
        return;
      } catch (error) {
        if (!isWrongSequence(error)) throw error;
        if ((await this.readCheckpoint()).revision >= revision) return;
      }
    }
    throw new Error("the checkpoint of the view changes all the time");
  }

  /** Undefined: its object is lost or holds no resource. */
  async #writtenOf({ revision }: KvEntry, { object, written }: ViewValue): Promise<Json | undefined> {
    if (object === undefined) return written;
    try {
      const bytes = await this.link.parts.objects.readSealed(object);
      if (bytes === undefined) throw new UnreadableError("object_lost");
      return readWritten(bytes);
    } catch (error) {
      return this.#pass(revision, error);
    }
  }

  /** Undefined: it is deleted, or no resource's. */
  #valueOf(entry: KvEntry): ViewValue | undefined {
    if (entry.operation !== "PUT") return undefined;
    if (parseKey(entry.key) === entry.key) return this.#checked(entry, readViewValue);
    this.link.unreadable.note("view", entry.revision, "wrong_shape");
    return undefined;
  }

  #checked<T>(entry: KvEntry, read: (bytes: Uint8Array) => T): T | undefined {
    if (entry.operation !== "PUT") return undefined;
    try {
      return read(entry.value);
    } catch (error) {
      return this.#pass(entry.revision, error);
    }
  }

  #pass(sequence: number, error: unknown): undefined {
    if (!(error instanceof UnreadableError)) throw error;
    this.link.unreadable.note("view", sequence, error.code);
    return undefined;
  }

  /** Digests of the objects that hold large resources. */
  async objectDigests(): Promise<string[]> {
    const digests: string[] = [];
    for await (const entry of await this.#kv().history()) {
      const value = entry.key === CHECKPOINT ? undefined : this.#valueOf(entry);
      if (value?.object !== undefined) digests.push(value.object);
    }
    return digests;
  }

  #kv(): KV {
    if (this.#bucket === undefined) throw new Error("the bucket is not open");
    return this.#bucket;
  }
}
