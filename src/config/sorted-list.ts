/**
 * Lists that are sorted by name and hold each name once: what a snapshot and a control plane have ten thousand of. A list is never
 * changed; the next one is made of the former's stretches, and what did not change is the same object in both. So two of them
 * are compared by a walk that touches no item, and a change costs what it changes plus one copy of pointers.
 */
export type NameOf<T> = (item: T) => string;

const CONCAT_MAX = 1_000;

/** Position of the first item whose name is not smaller. */
export function positionOf<T>(list: readonly T[], name: string, nameOf: NameOf<T>): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (nameOf(list[middle] as T) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The item with this name. */
export function findNamed<T>(list: readonly T[], name: string, nameOf: NameOf<T>): T | undefined {
  const found = list[positionOf(list, name, nameOf)];
  return found !== undefined && nameOf(found) === name ? found : undefined;
}

/** What two lists do not have in common, by identity: an item that changed is in both. */
export interface ListDiff<T> {
  readonly removed: readonly T[];
  readonly added: readonly T[];
}

/** How many items at the beginning, and how many of the others at the end, are the same objects. */
export function commonEnds<T>(before: readonly T[], after: readonly T[]): { readonly head: number; readonly tail: number } {
  const shorter = Math.min(before.length, after.length);
  let head = 0;
  while (head < shorter && before[head] === after[head]) head++;
  const rest = shorter - head;
  const shift = before.length - after.length;
  let tail = 0;
  for (let at = after.length - 1; tail < rest && before[at + shift] === after[at]; at--) tail++;
  return { head, tail };
}

/** Exact for any lists; small when both are sorted by name. */
export function diffLists<T>(before: readonly T[], after: readonly T[], nameOf: NameOf<T>): ListDiff<T> {
  const removed: T[] = [];
  const added: T[] = [];
  if (before === after) return { removed, added };
  const { head, tail } = commonEnds(before, after);
  const [oldEnd, nowEnd] = [before.length - tail, after.length - tail];
  let [old, now] = [head, head];
  while (old < oldEnd && now < nowEnd) {
    const left = before[old] as T;
    const right = after[now] as T;
    if (left === right) {
      old++;
      now++;
      continue;
    }
    const leftName = nameOf(left);
    const rightName = nameOf(right);
    if (leftName <= rightName) {
      removed.push(left);
      old++;
    }
    if (rightName <= leftName) {
      added.push(right);
      now++;
    }
  }
  for (; old < oldEnd; old++) removed.push(before[old] as T);
  for (; now < nowEnd; now++) added.push(after[now] as T);
  return { removed, added };
}

/** Nothing comes and nothing goes: one copy is all. Undefined: something does. */
function replaceItems<T>(list: readonly T[], edits: ReadonlyMap<string, T | undefined>, nameOf: NameOf<T>): T[] | undefined {
  const places: number[] = [];
  for (const [name, item] of edits) {
    const at = positionOf(list, name, nameOf);
    const found = list[at];
    if (item === undefined || found === undefined || nameOf(found) !== name) return undefined;
    places.push(at);
  }
  const next = list.slice();
  let i = 0;
  for (const item of edits.values()) next[places[i++] as number] = item as T;
  return next;
}

/** The list without the names in `removed` and with the items in `added`; `added` replaces an item of its name. */
export function patchList<T>(
  list: readonly T[],
  removed: Iterable<string>,
  added: readonly T[],
  nameOf: NameOf<T>,
): readonly T[] {
  const edits = new Map<string, T | undefined>();
  for (const name of removed) edits.set(name, undefined);
  for (const item of added) edits.set(nameOf(item), item);
  if (edits.size === 0) return list;
  const replaced = replaceItems(list, edits, nameOf);
  if (replaced !== undefined) return replaced;
  const sorted = [...edits].sort(([a], [b]) => (a < b ? -1 : 1));
  if (list.length === 0) return sorted.flatMap(([, item]) => (item === undefined ? [] : [item]));
  const pieces: (readonly T[])[] = [];
  let from = 0;
  for (const [name, item] of sorted) {
    const at = positionOf(list, name, nameOf);
    if (at > from) pieces.push(list.slice(from, at));
    if (item !== undefined) pieces.push([item]);
    const found = list[at];
    from = found !== undefined && nameOf(found) === name ? at + 1 : at;
  }
  pieces.push(list.slice(from));
  // A call takes so many arguments; with many edits copying is not what costs.
  return pieces.length <= CONCAT_MAX ? ([] as T[]).concat(...pieces) : (pieces.flat() as T[]);
}
