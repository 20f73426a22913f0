import { type KV, Kvm } from "@nats-io/kv";
import type { Msg } from "@nats-io/nats-core";
import { NATS_NAMES, statusSubject } from "../../config/nats/names.ts";
import { digestsOf, parseManifest } from "../../config/nats/snapshot-cache.ts";
import { type ProxyStatusMessage, REVISION_MAX } from "../../config/nats/status.ts";
import { type Manifest, splitSections } from "../../config/sections.ts";
import { describeCause } from "../../core/failure.ts";
import type { Log } from "../../core/log.ts";
import { isWrongSequence } from "../nats/errors.ts";
import type { NatsLink } from "../nats/link.ts";
import type { Distributor, Publication } from "./distributor.ts";

/** Manifests kept for each group: proxies that are a little behind still find what theirs names. */
export const MANIFESTS_KEPT = 8;
const PARALLEL = 16;
const CONFLICT_TRIES = 16;
/** Larger status messages are ignored. */
const STATUS_BYTES = 256 * 1024;

interface Published {
  readonly manifest: Manifest;
  /** Of the key in the bucket, to compare with. */
  readonly sequence: number;
}

/** Snapshots over NATS: sections and modules as objects, then a manifest by compare-and-set, which the bucket republishes. */
export class NatsDistributor implements Distributor {
  #bucket: KV | undefined;
  #handle: (message: ProxyStatusMessage, local: boolean) => void = () => {};
  readonly #published = new Map<string, Published>();

  constructor(
    readonly link: NatsLink,
    readonly log: Log,
  ) {}

  async open(): Promise<void> {
    await this.link.open();
    const { connection, client } = this.link.parts;
    if (this.#bucket === undefined) {
      connection.subscribe(statusSubject("*"), { callback: (error, message) => this.#onStatus(error, message) });
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
    let published = this.#published.get(manifest.group) ?? (await this.#read(manifest.group));
    if (published !== undefined && published.manifest.revision >= manifest.revision) return;
    await this.#putMissing(published?.manifest, manifest, sections, modules);
    const text = JSON.stringify(manifest);
    for (let attempt = 0; attempt < CONFLICT_TRIES; attempt++) {
      try {
        const sequence = await this.#kv().put(manifest.group, text, { previousSeq: published?.sequence ?? 0 });
        this.#published.set(manifest.group, { manifest, sequence });
        return;
      } catch (error) {
        if (!isWrongSequence(error)) throw error;
        published = await this.#read(manifest.group);
        if (published !== undefined && published.manifest.revision >= manifest.revision) return;
      }
    }
    throw new Error(`the manifest of ${manifest.group} changes all the time`);
  }

  async publishedRevision(group: string): Promise<number> {
    return (await this.#read(group))?.manifest.revision ?? 0;
  }

  onStatus(handle: (message: ProxyStatusMessage, local: boolean) => void): void {
    this.#handle = handle;
  }

  async close(): Promise<void> {}

  /** Digests that the kept manifests of all groups name. */
  async referencedDigests(): Promise<Set<string>> {
    const digests = new Set<string>();
    for await (const entry of await this.#kv().history())
      if (entry.operation === "PUT") for (const digest of digestsOf(parseManifest(entry.value))) digests.add(digest);
    return digests;
  }

  /** What the current manifest names is there: it is never collected. All else is written, be it for the second time. */
  async #putMissing(
    current: Manifest | undefined,
    next: Manifest,
    sections: ReadonlyMap<string, Uint8Array>,
    modules: ReadonlyMap<string, Uint8Array>,
  ): Promise<void> {
    const present = new Set(current === undefined ? [] : digestsOf(current));
    const missing = [...new Set(digestsOf(next))].filter((digest) => !present.has(digest));
    const putNext = async (): Promise<void> => {
      for (let digest = missing.pop(); digest !== undefined; digest = missing.pop()) {
        const section = sections.get(digest);
        const module = modules.get(digest);
        if (section !== undefined) await this.link.parts.objects.putSealed(section);
        else if (module !== undefined) await this.link.parts.objects.putModule(digest, module);
        else throw new Error(`nobody has the bytes of ${digest}`);
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, missing.length) }, putNext));
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
    return { manifest: parseManifest(stored.data), sequence: stored.seq };
  }

  #onStatus(error: Error | null, message: Msg): void {
    if (error !== null || message.data.byteLength > STATUS_BYTES) return;
    try {
      const status = message.json<ProxyStatusMessage>();
      // A proxy may publish on its own subject only, so the subject says who it is, not the message.
      if (message.subject !== statusSubject(status.id) || !isStatus(status)) return;
      this.#handle(status, false);
    } catch (cause) {
      this.log.debug("a proxy's status cannot be read", { subject: message.subject, cause: describeCause(cause) });
    }
  }

  #kv(): KV {
    if (this.#bucket === undefined) throw new Error("the bucket is not open");
    return this.#bucket;
  }
}

function isStatus(status: ProxyStatusMessage): boolean {
  const numbers = [status.revision, status.rejectedRevision, status.applyMs];
  const texts = [status.group, status.version, status.digest];
  return (
    numbers.every((each) => typeof each === "number") &&
    isRevision(status.revision) &&
    isRevision(status.rejectedRevision) &&
    texts.every((each) => typeof each === "string") &&
    Array.isArray(status.issues)
  );
}

/** What a proxy claims may become the start of a new log: a liar must not use all the numbers up. */
const isRevision = (revision: number): boolean => Number.isSafeInteger(revision) && revision >= 0 && revision <= REVISION_MAX;
