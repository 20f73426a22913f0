import { findNamed, patchList } from "../../config/sorted-list.ts";
import type { ResourceKey } from "./resource.ts";

interface Keyed {
  readonly key: ResourceKey;
}

const keyOf = (item: Keyed): string => item.key;

/** Things by key, in order of their keys. Never changed: the next one copies pointers only. */
export class KeyedTable<T extends Keyed> {
  constructor(readonly list: readonly T[] = []) {}

  get size(): number {
    return this.list.length;
  }
  get(key: ResourceKey): T | undefined {
    return findNamed<T>(this.list, key, keyOf);
  }
  has(key: ResourceKey): boolean {
    return this.get(key) !== undefined;
  }
  values(): IterableIterator<T> {
    return this.list.values();
  }
  *keys(): IterableIterator<ResourceKey> {
    for (const { key } of this.list) yield key;
  }

  /** Without `removed`, with `added` in the place of those with the same key. */
  with(removed: Iterable<ResourceKey>, added: readonly T[]): KeyedTable<T> {
    const list = patchList<T>(this.list, removed, added, keyOf);
    return list === this.list ? this : new KeyedTable(list);
  }
}
