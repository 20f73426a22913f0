import { Catalogue } from "../../config/catalogue.ts";
import { type Json, type ParsedResource, parseStored } from "../../config/parse.ts";
import type { Resource } from "../../config/schema/index.ts";
import type { LogEntry, StoreState } from "../store/store.ts";
import { type KeyedHash, ResourceDigests } from "./digests.ts";
import { hashOf, type ResourceKey, type StoredResource } from "./resource.ts";
import { KeyedTable } from "./table.ts";

/** A current resource: what the user wrote, and what it means. */
export interface ModelResource extends StoredResource {
  readonly hash: string;
  /** With defaults; undefined: this version cannot read what an older one stored. */
  readonly resource: Resource | undefined;
}

/** What a change makes of all resources: a revision that may come to be. */
export interface ResourceState {
  /** What compiles: all but what this version cannot read. */
  readonly catalogue: Catalogue;
  readonly digests: ResourceDigests;
}

/** All current resources at one revision, in order of their keys. Never mutated: an entry makes a new one, at the cost of what it changes. */
export class ControlModel implements ResourceState {
  private constructor(
    readonly revision: number,
    /** Of the log. */
    readonly digest: string,
    readonly timeMs: number,
    readonly inboxSequence: number,
    readonly resources: KeyedTable<ModelResource>,
    readonly catalogue: Catalogue,
    readonly digests: ResourceDigests,
  ) {}

  static fromState(state: StoreState): ControlModel {
    const { revision, digest, timeMs, inboxSequence } = state;
    const made = [...state.resources.values()].map((each) => makeModelResource(each.key, each.revision, each.written));
    const resources = new KeyedTable<ModelResource>().with([], made);
    const { catalogue } = Catalogue.of(resourcesOf(made));
    return new ControlModel(revision, digest, timeMs, inboxSequence, resources, catalogue, ResourceDigests.of(made));
  }

  /** `parsed` saves parsing again what this process has just parsed. */
  after(entry: LogEntry, parsed?: ReadonlyMap<ResourceKey, Resource>): ControlModel {
    const { revision, digest, timeMs, inboxSequence } = entry;
    const removed: ResourceKey[] = [];
    const made: ModelResource[] = [];
    for (const { key, after } of entry.changes) {
      if (after === undefined) removed.push(key);
      else made.push(makeModelResource(key, revision, after, parsed?.get(key)));
    }
    const resources = this.resources.with(removed, made);
    const { catalogue, digests } = this.preview(removed, made);
    return new ControlModel(revision, digest, timeMs, inboxSequence, resources, catalogue, digests);
  }

  /** All resources without `removed`, and with `changed` in the place of those with the same key. */
  preview(removed: readonly ResourceKey[], changed: readonly PreviewedResource[]): ResourceState {
    const known = (key: ResourceKey): Resource[] => resourcesOf([this.resources.get(key)]);
    const unreadable = changed.filter((each) => each.resource === undefined).map((each) => each.key);
    return {
      catalogue: this.catalogue.with([...removed, ...unreadable].flatMap(known), resourcesOf(changed)),
      digests: this.digests.with(removed, changed),
    };
  }

  /** What this version cannot read. */
  get unreadable(): readonly ResourceKey[] {
    return this.resources.list.filter((each) => each.resource === undefined).map((each) => each.key);
  }
}

/** A resource that a change would make. */
export type PreviewedResource = KeyedHash & { readonly resource: Resource | undefined };

const resourcesOf = (items: readonly ({ readonly resource: Resource | undefined } | undefined)[]): Resource[] =>
  items.flatMap((each) => each?.resource ?? []);

function makeModelResource(key: ResourceKey, revision: number, written: Json, parsed?: Resource): ModelResource {
  const resource = parsed ?? firstOf(parseStored(written, "<store>").resources)?.resource;
  return { key, revision, written, hash: hashOf(written), resource };
}

const firstOf = (parsed: readonly ParsedResource[]): ParsedResource | undefined => parsed[0];
