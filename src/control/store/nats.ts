import { type ConsumerMessages, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { NATS_NAMES } from "../../config/nats/names.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { err, ok, type Result } from "../../core/result.ts";
import { IdSource } from "../../core/rng.ts";
import { isStreamMissing, isWrongSequence } from "../nats/errors.ts";
import type { NatsLink } from "../nats/link.ts";
import { NatsView, SPILL_BYTES } from "./nats-view.ts";
import {
  type AppendConflict,
  applyEntry,
  type Change,
  type ConfigStore,
  type LogEntry,
  type NewLogEntry,
  type StoreState,
} from "./store.ts";

/** An entry as it lies in the stream: large changes are in the object store. Entries of older versions do not say their revision. */
type StoredEntry = Omit<LogEntry, "revision" | "changes"> & {
  readonly revision?: number;
  readonly changes?: readonly Change[];
  readonly object?: string;
};

/** The end of the log. */
type Head =
  /** `lead`: how far revisions are ahead of sequences; the same for all entries of a stream. */
  { readonly kind: "entries"; readonly lead: number } | { readonly kind: "empty"; readonly sequence: number };

const APPEND_TRIES = 3;

/** The store on JetStream: the stream SELVEDGE_LOG, and the bucket selvedge_config as its view. */
export class NatsStore implements ConfigStore {
  readonly kind = "nats";
  readonly #ids = new IdSource();
  readonly #view: NatsView;
  #tail: ConsumerMessages | undefined;
  /** As it was known last: an append compares with it. */
  #head: Head = { kind: "empty", sequence: 0 };
  /** The first entry of an empty log gets a greater revision. */
  #startAbove = 0;

  constructor(readonly link: NatsLink) {
    this.#view = new NatsView(link);
  }

  async open(): Promise<void> {
    await this.link.open();
    await this.#ensureLog();
    await this.#readHead();
    await this.#view.open();
  }

  async #ensureLog(): Promise<void> {
    const { manager } = this.link.parts;
    try {
      await manager.streams.info(NATS_NAMES.logStream);
    } catch (error) {
      if (!isStreamMissing(error)) throw error;
      await manager.streams.add({
        name: NATS_NAMES.logStream,
        description: "Selvedge: one message for each accepted apply",
        subjects: [NATS_NAMES.log],
        retention: RetentionPolicy.Limits,
        storage: StorageType.File,
        discard: DiscardPolicy.Old,
        max_msgs: CONFIG_LIMITS.history,
        num_replicas: this.link.replicas,
        allow_direct: true,
      });
    }
  }

  /**
   * Nothing is written here: an entry says its revision, and the first one decides how far revisions are ahead of the stream's
   * sequences. To move the stream's sequence instead could delete what another control plane has appended a moment before.
   */
  async startAbove(learn: () => Promise<number>): Promise<void> {
    if ((await this.#readHead()).kind === "empty") this.#startAbove = await learn();
  }

  async #readHead(): Promise<Head> {
    const { manager } = this.link.parts;
    const { state } = await manager.streams.info(NATS_NAMES.logStream);
    const last =
      state.messages === 0 ? null : await manager.streams.getMessage(NATS_NAMES.logStream, { last_by_subj: NATS_NAMES.log });
    this.#head =
      last === null
        ? { kind: "empty", sequence: state.last_seq }
        : { kind: "entries", lead: revisionOf(last.seq, last.json<StoredEntry>()) - last.seq };
    return this.#head;
  }

  async load(): Promise<StoreState> {
    const { checkpoint, resources } = await this.#view.read();
    let head = checkpoint;
    // Read after the keys: what others wrote meanwhile is in the log, so the result is whole.
    for (const entry of await this.readAfter(checkpoint.revision)) {
      applyEntry(resources, entry);
      await this.#view.write(entry);
      head = entry;
    }
    const { revision, digest, timeMs, inboxSequence } = head;
    return { revision, digest, timeMs, inboxSequence, resources };
  }

  async append(entry: NewLogEntry, expectedRevision: number): Promise<Result<number, AppendConflict>> {
    const { client, objects } = this.link.parts;
    const { changes, ...rest } = entry;
    const written = JSON.stringify(changes);
    const head = this.#head;
    const previous = expectedRevision;
    const lastSequence = head.kind === "empty" ? head.sequence : previous - head.lead;
    // The model is of another stream than this.
    if (lastSequence < 0) return err({ kind: "conflict" });
    const revision = (head.kind === "empty" ? Math.max(previous, this.#startAbove) : previous) + 1;
    const body: StoredEntry =
      written.length < SPILL_BYTES
        ? { ...rest, revision, previous, changes }
        : { ...rest, revision, previous, object: await objects.putSealed(new TextEncoder().encode(written)) };
    // The message id makes a repeated append (its answer was lost) find out that it had succeeded.
    const options = { msgID: this.#ids.next(), expect: { lastSequence } };
    for (let attempt = 1; ; attempt++) {
      try {
        const { seq } = await client.publish(NATS_NAMES.log, JSON.stringify(body), options);
        this.#head = { kind: "entries", lead: revision - seq };
        return ok(revision);
      } catch (error) {
        if (isWrongSequence(error)) {
          await this.#readHead();
          return err({ kind: "conflict" });
        }
        if (attempt === APPEND_TRIES) throw error;
      }
    }
  }

  async readAfter(revision: number): Promise<readonly LogEntry[]> {
    const stored = await this.#readStored(revision);
    return Promise.all(stored.map((each) => this.#decode(each.revision, each.stored)));
  }

  async #readStored(revision: number): Promise<{ readonly revision: number; readonly stored: StoredEntry }[]> {
    const { manager } = this.link.parts;
    const entries: { revision: number; stored: StoredEntry }[] = [];
    const head = this.#head.kind === "empty" ? await this.#readHead() : this.#head;
    if (head.kind === "empty") return entries;
    for (let next = Math.max(1, revision + 1 - head.lead); ; ) {
      const message = await manager.direct.getMessage(NATS_NAMES.logStream, { seq: next, next_by_subj: NATS_NAMES.log });
      if (message === null) return entries;
      const stored = message.json<StoredEntry>();
      entries.push({ revision: revisionOf(message.seq, stored), stored });
      next = message.seq + 1;
    }
  }

  async #decode(revision: number, stored: StoredEntry): Promise<LogEntry> {
    const { object, changes, ...rest } = stored;
    if (object === undefined) return { ...rest, revision, changes: changes ?? [] };
    const bytes = await this.link.parts.objects.getSealed(object);
    return { ...rest, revision, changes: JSON.parse(new TextDecoder().decode(bytes)) as Change[] };
  }

  async history(): Promise<readonly LogEntry[]> {
    return (await this.readAfter(0)).toReversed();
  }

  async watch(onChange: (revision?: number) => void): Promise<void> {
    await this.#tail?.close();
    const consumer = await this.link.parts.client.consumers.get(NATS_NAMES.logStream, { deliver_policy: DeliverPolicy.New });
    this.#tail = await consumer.consume({
      callback: (message) => onChange(this.#head.kind === "empty" ? undefined : message.seq + this.#head.lead),
    });
  }

  async writeView(entry: LogEntry): Promise<void> {
    await this.#view.write(entry);
  }

  async viewRevision(): Promise<number> {
    return (await this.#view.readCheckpoint()).revision;
  }

  /** Digests of the sealed objects that the log and the view stand on. */
  async objectDigests(): Promise<Set<string>> {
    const digests = new Set(await this.#view.objectDigests());
    for (const { stored } of await this.#readStored(0)) if (stored.object !== undefined) digests.add(stored.object);
    return digests;
  }

  async putModule(digest: string, bytes: Uint8Array): Promise<void> {
    await this.link.parts.objects.putModule(digest, bytes);
  }

  async getModule(digest: string): Promise<Uint8Array | undefined> {
    return this.link.parts.objects.getModule(digest);
  }

  listModules(): Promise<readonly string[]> {
    return this.link.parts.objects.listModules();
  }

  async close(): Promise<void> {
    await this.#tail?.close();
  }
}

const revisionOf = (sequence: number, stored: StoredEntry): number => stored.revision ?? sequence;
