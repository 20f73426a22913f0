import { type KV, Kvm } from "@nats-io/kv";
import type { Msg } from "@nats-io/nats-core";
import { digestsOf, formatAnnouncement, parseAnnouncement, parseManifest } from "../../config/nats/manifest.ts";
import { logsSubject, NATS_NAMES, statusSubject } from "../../config/nats/names.ts";
import { type ProxyStatusMessage, REVISION_MAX } from "../../config/nats/status.ts";
import { type Manifest, splitSections } from "../../config/sections.ts";
import type { FilterConfig } from "../../config/snapshot.ts";
import { utf8Text } from "../../core/bytes.ts";
import type { Clock, Timer } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import type { FilterLogPage, FilterLogQuery } from "../../core/filter-logs.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import type { Log } from "../../core/log.ts";
import { isWrongSequence } from "../nats/errors.ts";
import type { NatsLink } from "../nats/link.ts";
import { UnreadableError } from "../nats/unreadable.ts";
import type { Distributor, Publication } from "./distributor.ts";
import { chooseInline, type Inline } from "./inline.ts";
import { LogQuestions } from "./log-questions.ts";
import { readStatus } from "./read-status.ts";

/** Manifests kept for each group: proxies that are a little behind still find what theirs names. */
export const MANIFESTS_KEPT = 8;
const PARALLEL = 16;
const CONFLICT_TRIES = 16;
/** Larger status messages are ignored. */
const STATUS_BYTES = 256 * 1024;

/** What was announced becomes objects after this, so that a section that changes again soon is never written. */
const STORE_MS = 200;
/** Of a message: headers, and what the key-value store adds. */
const HEADROOM_BYTES = 16 * 1024;

/** Older than all. */
const NO_MANIFEST: Omit<Manifest, "group"> = { revision: 0, digest: "", sections: {}, modules: [], publishedAtMs: 0 };

interface Published {
  readonly manifest: Manifest;
  /** Of the key in the bucket, to compare with. */
  readonly sequence: number;
  /** Sections inside the announcement that are not known to be objects as well. */
  readonly unstored: Map<string, Uint8Array>;
}

/** What an announcement carries, and what must be an object before it goes out. */
interface Load {
  readonly inline: Inline;
  readonly objects: readonly string[];
}

/**
 * Snapshots over NATS: a manifest by compare-and-set, which the bucket republishes. Small sections that are new travel inside it
 * and become objects a moment later; sections that do not fit, and modules, are objects before. So all that the newest manifest
 * names is an object or inside it, also when we die in between: who publishes next takes along what is not an object yet.
 */
export class NatsDistributor implements Distributor {
  #bucket: KV | undefined;
  #handle: (message: ProxyStatusMessage, local: boolean) => void = () => {};
  readonly #questions: LogQuestions;
  readonly #published = new Map<string, Published>();
  #storeTimer: Timer | undefined;
  #storing: Promise<void> = Promise.resolve();

  constructor(
    readonly link: NatsLink,
    readonly clock: Clock,
    readonly log: Log,
  ) {
    this.#questions = new LogQuestions(clock, (subject, text) => link.parts.connection.publish(subject, text));
  }

  async open(): Promise<void> {
    await this.link.open();
    const { connection, client } = this.link.parts;
    if (this.#bucket === undefined) {
      connection.subscribe(statusSubject("*"), { callback: (error, message) => this.#onStatus(error, message) });
      connection.subscribe(logsSubject("*"), {
        callback: (error, message) => {
          if (error === null) this.#questions.onAnswer(message.subject, message.data);
        },
      });
      connection.publish(NATS_NAMES.poll);
    }
    this.#published.clear();
    this.#bucket = await new Kvm(client).create(NATS_NAMES.snapshotBucket, {
      description: "Selvedge: manifest of the newest snapshot of each proxy group",
      ...{ history: MANIFESTS_KEPT, replicas: this.link.replicas, allow_direct: true },
      republish: { src: `$KV.${NATS_NAMES.snapshotBucket}.>`, dest: "selvedge.snapshot.>" },
    });
  }

  async publish({ snapshot, sections: cut, modules, publishedAtMs }: Publication): Promise<void> {
    const { manifest, sections } = splitSections(snapshot, publishedAtMs, cut);
    const { group } = manifest;
    let published = this.#published.get(group) ?? (await this.#read(group));
    for (let attempt = 0; attempt < CONFLICT_TRIES; attempt++) {
      if (published !== undefined && published.manifest.revision >= manifest.revision) return;
      const load = this.#loadOf(published, manifest, sections);
      await this.#putObjects(load.objects, published, sections, modules, manifest.modules);
      try {
        const text = formatAnnouncement(manifest, load.inline.quoted);
        const sequence = await this.#kv().put(group, text, { previousSeq: published?.sequence ?? 0 });
        this.#published.set(group, { manifest, sequence, unstored: new Map(load.inline.bytes) });
        this.#storeLater();
        return;
      } catch (error) {
        if (!isWrongSequence(error)) throw error;
        published = await this.#read(group);
      }
    }
    throw new Error(`the manifest of ${group} changes all the time`);
  }

  async publishedRevision(group: string): Promise<number> {
    return (await this.#read(group))?.manifest.revision ?? 0;
  }

  /** Filters of the newest snapshot of a group; none when it cannot be had any more. */
  async publishedFilters(group: string): Promise<readonly FilterConfig[]> {
    const published = await this.#read(group);
    const digest = published?.manifest.sections.filters ?? "";
    const bytes =
      published?.unstored.get(digest) ?? (digest === "" ? undefined : await this.link.parts.objects.findSealed(digest));
    const filters = bytes === undefined ? [] : parseShallowJson(utf8Text(bytes));
    return Array.isArray(filters) ? (filters as readonly FilterConfig[]) : [];
  }

  onStatus(handle: (message: ProxyStatusMessage, local: boolean) => void): void {
    this.#handle = handle;
  }

  filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogPage | undefined> {
    return this.#questions.ask(proxyId, query);
  }

  /** What is inside the last announcements becomes objects first, when NATS is there. */
  async close(): Promise<void> {
    this.#storeTimer?.cancel();
    this.#storeTimer = undefined;
    this.#storing = this.#storing.then(() => this.#storeAnnounced());
    await this.#storing;
  }

  /** Digests that the kept manifests of all groups name. */
  async referencedDigests(): Promise<Set<string>> {
    const digests = new Set<string>();
    for await (const entry of await this.#kv().history())
      if (entry.operation === "PUT") for (const digest of this.#digestsIn(entry.revision, entry.value)) digests.add(digest);
    return digests;
  }

  /**
   * What the current manifest names is there and never collected, unless it was only inside. All else is written, be it for the
   * second time. The smallest travel inside; private keys never, because the bucket keeps a history.
   */
  #loadOf(current: Published | undefined, next: Manifest, sections: ReadonlyMap<string, Uint8Array>): Load {
    const present = new Set(current === undefined ? [] : digestsOf(current.manifest));
    for (const digest of current?.unstored.keys() ?? []) present.delete(digest);
    const missing = new Set(digestsOf(next).filter((digest) => !present.has(digest)));
    const { secrets } = next.sections;
    const candidates = new Map<string, Uint8Array>();
    for (const digest of missing) {
      const bytes = sections.get(digest);
      if (bytes !== undefined && digest !== secrets) candidates.set(digest, bytes);
    }
    const inline = chooseInline(candidates, this.#roomBeside(next));
    return { inline, objects: [...missing].filter((digest) => !inline.bytes.has(digest)) };
  }

  #roomBeside(manifest: Manifest): number {
    const messageBytes = this.link.parts.connection.info?.max_payload ?? 0;
    return Math.min(CONFIG_LIMITS.inlineBytes, messageBytes - HEADROOM_BYTES - JSON.stringify(manifest).length);
  }

  async #putObjects(
    digests: readonly string[],
    current: Published | undefined,
    sections: ReadonlyMap<string, Uint8Array>,
    modules: ReadonlyMap<string, Uint8Array>,
    named: readonly string[],
  ): Promise<void> {
    const lost = new Set(named);
    const missing = [...digests];
    const putNext = async (): Promise<void> => {
      for (let digest = missing.pop(); digest !== undefined; digest = missing.pop()) {
        const section = sections.get(digest);
        const module = modules.get(digest);
        if (section !== undefined) await this.link.parts.objects.putSealed(section);
        else if (module !== undefined) await this.link.parts.objects.putModule(digest, module);
        // A module that was lost: proxies that have it go on, and the others say that they cannot fetch it.
        else if (!lost.has(digest)) throw new Error(`nobody has the bytes of ${digest}`);
        current?.unstored.delete(digest);
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, missing.length) }, putNext));
  }

  #storeLater(): void {
    // Not put off by the next one: in a long burst announcements would carry more and more.
    this.#storeTimer ??= this.clock.setTimer(STORE_MS, () => {
      this.#storeTimer = undefined;
      this.#storing = this.#storing.then(() => this.#storeAnnounced());
    });
  }

  /** Nobody waits for it: what is not an object yet is taken along by the next announcement. */
  async #storeAnnounced(): Promise<void> {
    try {
      for (const { unstored } of this.#published.values()) {
        for (const [digest, bytes] of [...unstored]) {
          await this.link.parts.objects.putSealed(bytes);
          unstored.delete(digest);
        }
      }
    } catch (error) {
      this.log.debug("an announced section is not an object yet", { cause: describeCause(error) });
    }
  }

  /** From the leader: a direct get could be answered by a replica that is behind. */
  async #read(group: string): Promise<Published | undefined> {
    const message = await this.#messageOf(group);
    if (message === undefined) {
      this.#published.delete(group);
      return undefined;
    }
    this.#published.set(group, message);
    return message;
  }

  async #messageOf(group: string): Promise<Published | undefined> {
    const stored = await this.link.parts.manager.streams.getMessage(`KV_${NATS_NAMES.snapshotBucket}`, {
      last_by_subj: `$KV.${NATS_NAMES.snapshotBucket}.${group}`,
    });
    if (stored === null || stored.data.byteLength === 0) return undefined;
    try {
      const { manifest, inline } = parseAnnouncement(stored.data);
      if (manifest.revision > REVISION_MAX) throw new UnreadableError("wrong_shape");
      return { manifest, sequence: stored.seq, unstored: new Map(inline) };
    } catch {
      // Nobody's manifest: the next one is written over it, and names nothing that it could have brought.
      this.link.unreadable.note("snapshot", stored.seq, "wrong_shape");
      return { manifest: { ...NO_MANIFEST, group }, sequence: stored.seq, unstored: new Map() };
    }
  }

  #digestsIn(sequence: number, value: Uint8Array): readonly string[] {
    try {
      return digestsOf(parseManifest(value));
    } catch {
      this.link.unreadable.note("snapshot", sequence, "wrong_shape");
      return [];
    }
  }

  #onStatus(error: Error | null, message: Msg): void {
    if (error !== null || message.data.byteLength > STATUS_BYTES) return;
    try {
      const status = readStatus(message.data);
      // A proxy may publish on its own subject only, so the subject says who it is, not the message.
      if (status !== undefined && message.subject === statusSubject(status.id)) this.#handle(status, false);
    } catch (cause) {
      this.log.debug("a proxy's status cannot be read", { subject: message.subject, cause: describeCause(cause) });
    }
  }

  #kv(): KV {
    if (this.#bucket === undefined) throw new Error("the bucket is not open");
    return this.#bucket;
  }
}
