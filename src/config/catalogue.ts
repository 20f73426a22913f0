import { type Kind, type Resource, resourceKey } from "./schema/index.ts";
import type { ResourceName } from "./snapshot.ts";
import { findNamed, patchList } from "./sorted-list.ts";

interface Names {
  readonly key: string;
  readonly full: ResourceName;
}

/** Most resources stay the same from one compile to the next: their names stay the same texts. */
const names = new WeakMap<Resource, Names>();

function namesOf(resource: Resource): Names {
  let known = names.get(resource);
  if (known === undefined) {
    known = { key: resourceKey(resource), full: `${resource.metadata.namespace}/${resource.metadata.name}` };
    names.set(resource, known);
  }
  return known;
}

/** `namespace/name`. */
export const fullName = (resource: Resource): ResourceName => namesOf(resource).full;
/** `Kind namespace/name`. */
export const keyOfResource = (resource: Resource): string => namesOf(resource).key;

type OfKind<K extends Kind> = Extract<Resource, { kind: K }>;

/** All resources, each once: lists by kind, sorted by name. Never changed; the next one shares the lists of kinds that stayed. */
export class Catalogue {
  private constructor(readonly kinds: ReadonlyMap<Kind, readonly Resource[]>) {}

  static readonly EMPTY = new Catalogue(new Map());

  /** In any order. Of two with one name the first stays, and the other is in `duplicates`. */
  static of(resources: Iterable<Resource>): { readonly catalogue: Catalogue; readonly duplicates: readonly Resource[] } {
    const byKey = new Map<string, Resource>();
    const duplicates: Resource[] = [];
    for (const resource of resources) {
      const { key } = namesOf(resource);
      if (byKey.has(key)) duplicates.push(resource);
      else byKey.set(key, resource);
    }
    return { catalogue: Catalogue.EMPTY.with([], [...byKey.values()]), duplicates };
  }

  /** The resources of a kind, sorted by name. */
  ofKind<K extends Kind>(kind: K): readonly OfKind<K>[] {
    return (this.kinds.get(kind) ?? []) as readonly OfKind<K>[];
  }

  find<K extends Kind>(kind: K, name: ResourceName): OfKind<K> | undefined {
    return findNamed(this.ofKind(kind), name, fullName);
  }

  /** Without `removed`, with `added` in the place of those of the same kind and name. */
  with(removed: Iterable<Resource>, added: Iterable<Resource>): Catalogue {
    const edits = new Map<Kind, { readonly gone: string[]; readonly come: Resource[] }>();
    const editOf = (kind: Kind): { readonly gone: string[]; readonly come: Resource[] } => {
      const known = edits.get(kind) ?? { gone: [], come: [] };
      edits.set(kind, known);
      return known;
    };
    for (const resource of removed) editOf(resource.kind).gone.push(fullName(resource));
    for (const resource of added) editOf(resource.kind).come.push(resource);
    if (edits.size === 0) return this;
    const kinds = new Map(this.kinds);
    for (const [kind, { gone, come }] of edits) kinds.set(kind, patchList(kinds.get(kind) ?? [], gone, come, fullName));
    return new Catalogue(kinds);
  }
}
