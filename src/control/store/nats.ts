import { type ConsumerMessages, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType } from "@nats-io/jetstream";
import { NATS_NAMES } from "../../config/nats/names.ts";
import { type Clock, SystemClock } from "../../core/clock.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { err, ok, type Result } from "../../core/result.ts";
import { IdSource } from "../../core/rng.ts";
import { isStreamMissing, isWrongSequence } from "../nats/errors.ts";
import type { NatsLink } from "../nats/link.ts";
import { UnreadableError } from "../nats/unreadable.ts";
import { NatsView, SPILL_BYTES } from "./nats-view.ts";
import { type AppendConflict, applyEntry, type ConfigStore, type LogEntry, type NewLogEntry, type StoreState } from "./store.ts";
import { readChanges, readStoredEntry, type StoredEntry } from "./stored.ts";

/** The end of the log. Messages that are no entries count for `sequence`, and for nothing else. */
type Head =
  /**
   * `lead`: how far revisions are ahead of sequences; the same for all entries of a stream. `revision`: of the last entry. `sequence`: of
   * the last message.
   */
  | { readonly kind: "entries"; readonly lead: number; readonly revision: number; readonly sequence: number }
  | { readonly kind: "empty"; readonly sequence: number };

/** An object that an entry names was there before the entry: one that is not found is looked for again, since replicas may be behind. */
const OBJECT_TRIES = 3;
const OBJECT_PAUSE_MS = 200;
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

  constructor(
    readonly link: NatsLink,
    readonly clock: Clock = new SystemClock(),
  ) {
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

  /** From the leader. The last message is an entry, but for what others have put there: then the last one that is. */
  async #readHead(): Promise<Head> {
    const { manager } = this.link.parts;
    const { state } = await manager.streams.info(NATS_NAMES.logStream);
    let sequence = state.last_seq;
    let head: Head = { kind: "empty", sequence };
    const last =
      state.messages === 0 ? null : await manager.streams.getMessage(NATS_NAMES.logStream, { last_by_subj: NATS_NAMES.log });
    if (last !== null) sequence = last.seq;
    for (let message = last, next = sequence - 1; ; next--) {
      const entry = message === null ? undefined : await this.#read(message.seq, message.data);
      if (entry !== undefined && message !== null) {
        head = { kind: "entries", lead: entry.revision - message.seq, revision: entry.revision, sequence };
        break;
      }
      if (next < Math.max(1, state.first_seq)) break;
      message = await manager.streams.getMessage(NATS_NAMES.logStream, { seq: next });
    }
    if (head.kind === "empty") head = { kind: "empty", sequence };
    this.#head = head;
    return head;
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
    const previous = expectedRevision;
    const isCurrent = (end: Head): boolean => end.kind === "empty" || end.revision === previous;
    const head = isCurrent(this.#head) ? this.#head : await this.#readHead();
    // The model is older, or of another stream than this.
    if (!isCurrent(head)) return err({ kind: "conflict" });
    const lastSequence = head.sequence;
    const revision = head.kind === "empty" ? Math.max(previous, this.#startAbove) + 1 : lastSequence + 1 + head.lead;
    const body: StoredEntry =
      written.length < SPILL_BYTES
        ? { ...rest, revision, previous, changes }
        : { ...rest, revision, previous, object: await objects.putSealed(new TextEncoder().encode(written)) };
    // The message id makes a repeated append (its answer was lost) find out that it had succeeded.
    const options = { msgID: this.#ids.next(), expect: { lastSequence } };
    for (let attempt = 1; ; attempt++) {
      try {
        const { seq } = await client.publish(NATS_NAMES.log, JSON.stringify(body), options);
        this.#head = { kind: "entries", lead: revision - seq, revision, sequence: seq };
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
    const entries: LogEntry[] = [];
    for (const { sequence, data } of await this.#messagesAfter(revision)) {
      const entry = await this.#read(sequence, data);
      if (entry !== undefined) entries.push(entry);
      this.#learn(sequence, entry);
    }
    return entries;
  }

  /** Messages that may be entries above a revision, oldest first. */
  async #messagesAfter(revision: number): Promise<{ readonly sequence: number; readonly data: Uint8Array }[]> {
    const { manager } = this.link.parts;
    const messages: { sequence: number; data: Uint8Array }[] = [];
    const head = this.#head.kind === "empty" ? await this.#readHead() : this.#head;
    if (head.kind === "empty") return messages;
    // What is no entry behind the last one was looked at.
    const first = revision === head.revision ? head.sequence + 1 : revision + 1 - head.lead;
    for (let next = Math.max(1, first); ; ) {
      const message = await manager.direct.getMessage(NATS_NAMES.logStream, { seq: next, next_by_subj: NATS_NAMES.log });
      if (message === null) return messages;
      messages.push({ sequence: message.seq, data: message.data });
      next = message.seq + 1;
    }
  }

  /** The end of the log is where we have read to. */
  #learn(sequence: number, entry: LogEntry | undefined): void {
    const head = this.#head;
    if (head.kind === "entries" && sequence > head.sequence)
      this.#head = { ...head, sequence, revision: entry?.revision ?? head.revision };
  }

  /** Undefined: it is no entry. All control planes find the same, since only what it holds decides. */
  async #read(sequence: number, data: Uint8Array): Promise<LogEntry | undefined> {
    try {
      const { object, changes, revision = sequence, ...rest } = readStoredEntry(data);
      if (rest.previous >= revision) throw new UnreadableError("wrong_shape");
      if (object === undefined) return { ...rest, revision, changes: changes ?? [] };
      return { ...rest, revision, changes: readChanges(await this.#objectOf(object)) };
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      this.link.unreadable.note("log", sequence, error.code);
      return undefined;
    }
  }

  async #objectOf(digest: string): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      const bytes = await this.link.parts.objects.readSealed(digest);
      if (bytes !== undefined) return bytes;
      if (attempt === OBJECT_TRIES) throw new UnreadableError("object_lost");
      await new Promise<void>((resolve) => void this.clock.setTimer(OBJECT_PAUSE_MS, resolve));
    }
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
    for (const { data } of await this.#messagesAfter(0)) {
      const object = objectOf(data);
      if (object !== undefined) digests.add(object);
    }
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

function objectOf(data: Uint8Array): string | undefined {
  try {
    return readStoredEntry(data).object;
  } catch {
    // It was named when the log was read.
    return undefined;
  }
}
