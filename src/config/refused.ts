import type { Kind } from "./schema/index.ts";
import type { ResourceName } from "./snapshot.ts";

/**
 * Resources that are there and cannot be used as they are, by `Kind namespace/name`. What of it could not be read is `*`: nobody
 * is told that a thing is missing which this may be.
 */
export type RefusedKeys = readonly string[];

/** Of a text that cannot be read at all: it may hold anything. */
export const REFUSED_ANYTHING = "* */*";

/** Asked for each reference that leads nowhere, so a lookup and not a search: either may come a hundred thousand times. */
export class Refused {
  readonly #keys: ReadonlySet<string>;
  readonly #kinds: ReadonlySet<string>;

  constructor(keys: RefusedKeys = []) {
    this.#keys = new Set(keys);
    this.#kinds = new Set(keys.map((key) => key.slice(0, key.indexOf(" "))));
  }

  /** May the resource be one of those that were refused? */
  mayBe(kind: Kind, name: ResourceName): boolean {
    if (this.#keys.size === 0) return false;
    const [namespace = "", short = ""] = name.split("/");
    for (const ofKind of [kind, "*"])
      for (const ofNamespace of [namespace, "*"])
        for (const ofName of [short, "*"]) if (this.#keys.has(`${ofKind} ${ofNamespace}/${ofName}`)) return true;
    return false;
  }

  /** May a resource of this kind be among those that were refused? */
  mayHave(kind: Kind): boolean {
    return this.#kinds.has(kind) || this.#kinds.has("*");
  }
}
