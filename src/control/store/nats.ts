import {
  type ConsumerMessages,
  DeliverPolicy,
  DiscardPolicy,
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
  RetentionPolicy,
  StorageType,
} from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { NATS_NAMES } from "../../config/nats/names.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { err, ok, type Result } from "../../core/result.ts";
import { IdSource } from "../../core/rng.ts";
import { isStreamMissing, isWrongSequence } from "../nats/errors.ts";
import { NatsObjects } from "../nats/objects.ts";
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

/** An entry as it lies in the stream: large changes are in the object store. */
type StoredEntry = Omit<LogEntry, "revision" | "changes"> & { readonly changes?: readonly Change[]; readonly object?: string };

const APPEND_TRIES = 3;

/** The store on JetStream: the stream SELVEDGE_LOG, and the bucket selvedge_config as its view. */
export class NatsStore implements ConfigStore {
  readonly kind = "nats";
  readonly #ids = new IdSource();
  #parts:
    | {
        readonly manager: JetStreamManager;
        readonly client: JetStreamClient;
        readonly objects: NatsObjects;
        readonly view: NatsView;
      }
    | undefined;
  #tail: ConsumerMessages | undefined;

  constructor(
    readonly connection: NatsConnection,
    readonly replicas = 1,
  ) {}

  async open(): Promise<void> {
    const manager = await jetstreamManager(this.connection);
    const client = jetstream(this.connection);
    await this.#ensureLog(manager);
    const objects = new NatsObjects(this.connection, manager, this.replicas);
    await objects.open();
    const view = new NatsView(client, objects, this.replicas);
    await view.open();
    this.#parts = { manager, client, objects, view };
  }

  async #ensureLog(manager: JetStreamManager): Promise<void> {
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
        num_replicas: this.replicas,
        allow_direct: true,
      });
    }
  }

  async load(): Promise<StoreState> {
    const { view } = this.#open();
    const { checkpoint, resources } = await view.read();
    let head = checkpoint;
    // Read after the keys: what others wrote meanwhile is in the log, so the result is whole.
    for (const entry of await this.readAfter(checkpoint.revision)) {
      applyEntry(resources, entry);
      await view.write(entry);
      head = entry;
    }
    const { revision, digest, timeMs, inboxSequence } = head;
    return { revision, digest, timeMs, inboxSequence, resources };
  }

  async append(entry: NewLogEntry, expectedRevision: number): Promise<Result<number, AppendConflict>> {
    const { client, objects } = this.#open();
    const { changes, ...rest } = entry;
    const written = JSON.stringify(changes);
    const body: StoredEntry =
      written.length < SPILL_BYTES
        ? { ...rest, previous: expectedRevision, changes }
        : { ...rest, previous: expectedRevision, object: await objects.putSealed(new TextEncoder().encode(written)) };
    // The message id makes a repeated append (its answer was lost) find out that it had succeeded.
    const options = { msgID: this.#ids.next(), expect: { lastSequence: expectedRevision } };
    for (let attempt = 1; ; attempt++) {
      try {
        return ok((await client.publish(NATS_NAMES.log, JSON.stringify(body), options)).seq);
      } catch (error) {
        if (isWrongSequence(error)) return err({ kind: "conflict" });
        if (attempt === APPEND_TRIES) throw error;
      }
    }
  }

  async readAfter(revision: number): Promise<readonly LogEntry[]> {
    const { manager } = this.#open();
    const entries: LogEntry[] = [];
    for (let next = revision + 1; ; ) {
      const message = await manager.direct.getMessage(NATS_NAMES.logStream, { seq: next, next_by_subj: NATS_NAMES.log });
      if (message === null) return entries;
      entries.push(await this.#decode(message.seq, message.json<StoredEntry>()));
      next = message.seq + 1;
    }
  }

  async #decode(revision: number, stored: StoredEntry): Promise<LogEntry> {
    const { object, changes, ...rest } = stored;
    if (object === undefined) return { ...rest, revision, changes: changes ?? [] };
    const bytes = await this.#open().objects.getSealed(object);
    return { ...rest, revision, changes: JSON.parse(new TextDecoder().decode(bytes)) as Change[] };
  }

  async history(): Promise<readonly LogEntry[]> {
    return (await this.readAfter(0)).toReversed();
  }

  async watch(onChange: () => void): Promise<void> {
    const consumer = await this.#open().client.consumers.get(NATS_NAMES.logStream, { deliver_policy: DeliverPolicy.New });
    this.#tail = await consumer.consume({ callback: () => onChange() });
  }

  async writeView(entry: LogEntry): Promise<void> {
    await this.#open().view.write(entry);
  }

  async viewRevision(): Promise<number> {
    return (await this.#open().view.readCheckpoint()).revision;
  }

  async putModule(digest: string, bytes: Uint8Array): Promise<void> {
    await this.#open().objects.putModule(digest, bytes);
  }

  async getModule(digest: string): Promise<Uint8Array | undefined> {
    return this.#open().objects.getModule(digest);
  }

  async close(): Promise<void> {
    await this.#tail?.close();
  }

  #open() {
    if (this.#parts === undefined) throw new Error("the store is not open");
    return this.#parts;
  }
}
