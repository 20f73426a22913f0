import { sha256Digest } from "../../config/canonical.ts";
import { shardOf } from "../../config/section-layout.ts";
import { patchList } from "../../config/sorted-list.ts";
import type { ResourceKey } from "./resource.ts";

/** A resource by what it is called and what it says. */
export interface KeyedHash {
  readonly key: ResourceKey;
  readonly hash: string;
}

/** A constant, so that the same resources have the same digest everywhere. A power of two. */
const SHARDS = 256;

interface Shard {
  readonly entries: readonly KeyedHash[];
  /** "" when it is empty. */
  readonly digest: string;
}

const EMPTY_SHARDS: readonly Shard[] = Array.from({ length: SHARDS }, () => ({ entries: [], digest: "" }));

const keyOf = (entry: KeyedHash): string => entry.key;

/**
 * A digest over all resources that is equal for equal configurations, whatever way led there: of the digests of 256 lists, each of
 * the keys and hashes that fall there by their key. A change hashes its own list again, not all of them. Never changed.
 */
export class ResourceDigests {
  readonly digest: string;

  private constructor(readonly shards: readonly Shard[]) {
    this.digest = sha256Digest(shards.map((each) => each.digest).join("\n"));
  }

  static readonly EMPTY = new ResourceDigests(EMPTY_SHARDS);

  static of(entries: Iterable<KeyedHash>): ResourceDigests {
    return ResourceDigests.EMPTY.with([], entries);
  }

  /** Without `removed`, with `added` in the place of those with the same key. */
  with(removed: Iterable<ResourceKey>, added: Iterable<KeyedHash>): ResourceDigests {
    const edits = new Map<number, { readonly gone: string[]; readonly come: KeyedHash[] }>();
    const editOf = (key: ResourceKey): { readonly gone: string[]; readonly come: KeyedHash[] } => {
      const at = shardOf(key, SHARDS);
      const known = edits.get(at) ?? { gone: [], come: [] };
      edits.set(at, known);
      return known;
    };
    for (const key of removed) editOf(key).gone.push(key);
    for (const entry of added) editOf(entry.key).come.push(entry);
    if (edits.size === 0) return this;
    const shards = [...this.shards];
    for (const [at, { gone, come }] of edits) {
      const entries = patchList(shards[at]?.entries ?? [], gone, come, keyOf);
      shards[at] = { entries, digest: digestOf(entries) };
    }
    return new ResourceDigests(shards);
  }
}

function digestOf(entries: readonly KeyedHash[]): string {
  return entries.length === 0 ? "" : sha256Digest(entries.map(({ key, hash }) => `${key} ${hash}\n`).join(""));
}
