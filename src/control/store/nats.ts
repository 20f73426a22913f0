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

/** An entry as it lies in the stream: large changes are in the object store. */
type StoredEntry = Omit<LogEntry, "revision" | "changes"> & { readonly changes?: readonly Change[]; readonly object?: string };

const APPEND_TRIES = 3;

/** The store on JetStream: the stream SELVEDGE_LOG, and the bucket selvedge_config as its view. */
export class NatsStore implements ConfigStore {
  readonly kind = "nats";
  readonly #ids = new IdSource();
  readonly #view: NatsView;
  #tail: ConsumerMessages | undefined;
  /** Last sequence of a log that holds nothing; undefined: it holds entries. */
  #emptyAt: number | undefined;

  constructor(readonly link: NatsLink) {
    this.#view = new NatsView(link);
  }

  async open(): Promise<void> {
    await this.link.open();
    await this.#ensureLog();
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

  async startAbove(learn: () => Promise<number>): Promise<void> {
    await this.#readEmptiness();
    if (this.#emptyAt === undefined) return;
    const revision = await learn();
    // Once more: another control plane may have done it, or have appended meanwhile.
    await this.#readEmptiness();
    if (this.#emptyAt === undefined || this.#emptyAt >= revision) return;
    // Of a stream without messages this moves the first sequence, and that is all that it does.
    await this.link.parts.manager.streams.purge(NATS_NAMES.logStream, { seq: revision + 1 });
    await this.#readEmptiness();
  }

  async #readEmptiness(): Promise<void> {
    const { state } = await this.link.parts.manager.streams.info(NATS_NAMES.logStream);
    this.#emptyAt = state.messages === 0 ? state.last_seq : undefined;
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
    const body: StoredEntry =
      written.length < SPILL_BYTES
        ? { ...rest, previous: expectedRevision, changes }
        : { ...rest, previous: expectedRevision, object: await objects.putSealed(new TextEncoder().encode(written)) };
    // The message id makes a repeated append (its answer was lost) find out that it had succeeded.
    const options = { msgID: this.#ids.next(), expect: { lastSequence: this.#emptyAt ?? expectedRevision } };
    for (let attempt = 1; ; attempt++) {
      try {
        const { seq } = await client.publish(NATS_NAMES.log, JSON.stringify(body), options);
        this.#emptyAt = undefined;
        return ok(seq);
      } catch (error) {
        if (isWrongSequence(error)) {
          await this.#readEmptiness();
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
    for (let next = revision + 1; ; ) {
      const message = await manager.direct.getMessage(NATS_NAMES.logStream, { seq: next, next_by_subj: NATS_NAMES.log });
      if (message === null) return entries;
      entries.push({ revision: message.seq, stored: message.json<StoredEntry>() });
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

  async watch(onChange: () => void): Promise<void> {
    await this.#tail?.close();
    const consumer = await this.link.parts.client.consumers.get(NATS_NAMES.logStream, { deliver_policy: DeliverPolicy.New });
    this.#tail = await consumer.consume({ callback: () => onChange() });
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

  async close(): Promise<void> {
    await this.#tail?.close();
  }
}
