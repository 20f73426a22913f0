import { compareText, sha256Digest } from "../../config/canonical.ts";
import { type Json, type ParsedResource, parseStored } from "../../config/parse.ts";
import type { Resource } from "../../config/schema/index.ts";
import type { LogEntry, StoreState } from "../store/store.ts";
import { hashOf, type ResourceKey, type StoredResource } from "./resource.ts";

/** A current resource: what the user wrote, and what it means. */
export interface ModelResource extends StoredResource {
  readonly hash: string;
  /** With defaults; undefined: this version cannot read what an older one stored. */
  readonly resource: Resource | undefined;
}

/** All current resources at one revision, in order of their keys. Never mutated: an entry makes a new one. */
export class ControlModel {
  constructor(
    readonly revision: number,
    readonly digest: string,
    readonly timeMs: number,
    readonly inboxSequence: number,
    readonly resources: ReadonlyMap<ResourceKey, ModelResource>,
  ) {}

  static fromState(state: StoreState): ControlModel {
    const resources = new Map<ResourceKey, ModelResource>();
    for (const { key, revision, written } of [...state.resources.values()].sort(compareKeys))
      resources.set(key, makeModelResource(key, revision, written));
    return new ControlModel(state.revision, state.digest, state.timeMs, state.inboxSequence, resources);
  }

  /** `parsed` saves parsing again what this process has just parsed. */
  after(entry: LogEntry, parsed?: ReadonlyMap<ResourceKey, Resource>): ControlModel {
    let resources = new Map(this.resources);
    const added: ModelResource[] = [];
    for (const { key, after } of entry.changes) {
      const made = after === undefined ? undefined : makeModelResource(key, entry.revision, after, parsed?.get(key));
      if (made === undefined) resources.delete(key);
      else if (resources.has(key)) resources.set(key, made);
      else added.push(made);
    }
    if (added.length > 0) resources = mergeInOrder(resources, added.sort(compareKeys));
    return new ControlModel(entry.revision, entry.digest, entry.timeMs, entry.inboxSequence, resources);
  }
}

const compareKeys = (a: { readonly key: string }, b: { readonly key: string }): number => compareText(a.key, b.key);

function mergeInOrder(known: ReadonlyMap<ResourceKey, ModelResource>, added: readonly ModelResource[]) {
  const merged = new Map<ResourceKey, ModelResource>();
  let next = 0;
  for (const resource of known.values()) {
    for (let each = added[next]; each !== undefined && each.key < resource.key; each = added[++next]) merged.set(each.key, each);
    merged.set(resource.key, resource);
  }
  for (const each of added.slice(next)) merged.set(each.key, each);
  return merged;
}

/** `sha256:` over keys and contents in order; equal for equal configurations whatever way led there. */
export function digestOfResources(resources: Iterable<{ readonly key: ResourceKey; readonly hash: string }>): string {
  const lines: string[] = [];
  let sorted = true;
  let last = "";
  for (const { key, hash } of resources) {
    lines.push(`${key} ${hash}\n`);
    sorted &&= key > last;
    last = key;
  }
  // A space comes before all that a key may hold: in order of the keys is in order of the lines.
  return sha256Digest((sorted ? lines : lines.sort()).join(""));
}

function makeModelResource(key: ResourceKey, revision: number, written: Json, parsed?: Resource): ModelResource {
  const resource = parsed ?? firstOf(parseStored(written, "<store>").resources)?.resource;
  return { key, revision, written, hash: hashOf(written), resource };
}

const firstOf = (parsed: readonly ParsedResource[]): ParsedResource | undefined => parsed[0];
