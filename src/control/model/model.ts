import { sha256Digest } from "../../config/canonical.ts";
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

/** All current resources at one revision. Never mutated: an entry makes a new one. */
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
    for (const { key, revision, written } of state.resources.values())
      resources.set(key, makeModelResource(key, revision, written));
    return new ControlModel(state.revision, state.digest, state.timeMs, state.inboxSequence, resources);
  }

  /** `parsed` saves parsing again what this process has just parsed. */
  after(entry: LogEntry, parsed?: ReadonlyMap<ResourceKey, Resource>): ControlModel {
    const resources = new Map(this.resources);
    for (const { key, after } of entry.changes) {
      if (after === undefined) resources.delete(key);
      else resources.set(key, makeModelResource(key, entry.revision, after, parsed?.get(key)));
    }
    return new ControlModel(entry.revision, entry.digest, entry.timeMs, entry.inboxSequence, resources);
  }
}

/** `sha256:` over keys and contents in order; equal for equal configurations whatever way led there. */
export function digestOfResources(resources: Iterable<{ readonly key: ResourceKey; readonly hash: string }>): string {
  const lines = Array.from(resources, ({ key, hash }) => `${key} ${hash}\n`).sort();
  return sha256Digest(lines.join(""));
}

function makeModelResource(key: ResourceKey, revision: number, written: Json, parsed?: Resource): ModelResource {
  const resource = parsed ?? firstOf(parseStored(written, "<store>").resources)?.resource;
  return { key, revision, written, hash: hashOf(written), resource };
}

const firstOf = (parsed: readonly ParsedResource[]): ParsedResource | undefined => parsed[0];
