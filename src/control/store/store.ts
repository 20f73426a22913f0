import type { Json } from "../../config/parse.ts";
import type { Result } from "../../core/result.ts";
import type { ResourceKey, StoredResource } from "../model/resource.ts";

/** One resource in one apply: created (`after` only), changed (both) or deleted (`before` only). */
export interface Change {
  readonly key: ResourceKey;
  readonly before?: Json;
  readonly after?: Json;
}

/** One accepted apply. History, rollback and the view of current resources all come from it. */
export interface LogEntry {
  /** Position in the log; grows, may have gaps. Never 0. */
  readonly revision: number;
  /** Revision of the entry before it; 0: it is the first. */
  readonly previous: number;
  /** Who: last token of the NATS subject, API user; "" is unknown. */
  readonly author: string;
  /** Where it came from: `nats`, `api`, `file`, `rollback to 7`, `restore`. */
  readonly origin: string;
  /** Wall clock of the control plane that accepted it. */
  readonly timeMs: number;
  readonly changes: readonly Change[];
  /** `sha256:` over all resources after this entry, canonical. */
  readonly digest: string;
  /** Highest message of the inbox whose effect this entry and those before it hold; makes a redelivery a no-op. */
  readonly inboxSequence: number;
}

export type NewLogEntry = Omit<LogEntry, "revision" | "previous">;

/** All current resources at one revision. */
export interface StoreState {
  /** 0: nothing was ever applied. */
  readonly revision: number;
  readonly digest: string;
  /** Wall clock of the apply that made this revision. */
  readonly timeMs: number;
  readonly inboxSequence: number;
  readonly resources: ReadonlyMap<ResourceKey, StoredResource>;
}

export const EMPTY_STATE: StoreState = { revision: 0, digest: "", timeMs: 0, inboxSequence: 0, resources: new Map() };

/** Somebody else appended first: catch up and try again. */
export interface AppendConflict {
  readonly kind: "conflict";
}

/**
 * Seam 9: the log of applies with compare-and-set, and a view of current resources that follows it. Memory and NATS
 * implement it; one contract suite tests both. Methods reject only when the store cannot be reached.
 */
export interface ConfigStore {
  readonly kind: "memory" | "nats";
  /** Creates or opens what it needs. Idempotent; several control planes may do it at once. */
  open(): Promise<void>;
  /**
   * When the log holds nothing: makes its first revision greater than what `learn` resolves with. A log that was lost must not
   * begin again with revisions that proxies have seen: they refuse what is older than what they serve.
   */
  startAbove(learn: () => Promise<number>): Promise<void>;
  /** The current resources: the view brought up to the end of the log, also repairing it. */
  load(): Promise<StoreState>;
  /** Appends when the last entry's revision is `expectedRevision`; resolves with the new revision. */
  append(entry: NewLogEntry, expectedRevision: number): Promise<Result<number, AppendConflict>>;
  /** Entries after `revision`, oldest first. The first one's `previous` tells whether older ones are gone. */
  readAfter(revision: number): Promise<readonly LogEntry[]>;
  /** The newest entries (at most CONFIG_LIMITS.history), newest first. */
  history(): Promise<readonly LogEntry[]>;
  /** Calls `onChange` whenever somebody may have appended, with the entry's revision when it is known. One watcher. */
  watch(onChange: (revision?: number) => void): Promise<void>;
  /** Makes the view hold `entry`, whose predecessor it holds. Idempotent; repairs what a crash left half done. */
  writeView(entry: LogEntry): Promise<void>;
  /** Revision that the view holds completely; 0: none. */
  viewRevision(): Promise<number>;
  /** Keeps the bytes of a module. Idempotent. */
  putModule(digest: string, bytes: Uint8Array): Promise<void>;
  getModule(digest: string): Promise<Uint8Array | undefined>;
  /** Digests of all modules that are kept, in order. */
  listModules(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** What the resources are after an entry. */
export function applyEntry(resources: Map<ResourceKey, StoredResource>, entry: LogEntry): void {
  for (const { key, after } of entry.changes) {
    if (after === undefined) resources.delete(key);
    else resources.set(key, { key, revision: entry.revision, written: after });
  }
}
