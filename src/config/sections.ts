import { CONFIG_LIMITS } from "../core/limits.ts";
import { canonicalJson, compareText, isCanonicalItem, sha256Digest } from "./canonical.ts";
import { mapSecrets, redactSettings } from "./secrets.ts";
import type { Snapshot } from "./snapshot.ts";

/** What travels first: names the sections of a snapshot by digest, so that only those that changed are sent. */
export interface Manifest {
  readonly revision: number;
  /** `sha256:` over the sections; equals `Snapshot.digest`. */
  readonly digest: string;
  readonly group: string;
  /** Section name → `sha256:` of its bytes. */
  readonly sections: Readonly<Record<string, string>>;
  /** Digests of the WASM modules that the snapshot names, sorted. */
  readonly modules: readonly string[];
  /** When it was published, wall clock; not part of the digest. */
  readonly publishedAtMs: number;
}

/** What the sections hold. */
export type SnapshotContent = Omit<Snapshot, "revision" | "digest" | "group">;

export interface Sections {
  /** Section name → digest. */
  readonly digests: Readonly<Record<string, string>>;
  /** Digest → bytes. */
  readonly bytes: ReadonlyMap<string, Uint8Array>;
  /** Of the whole. */
  readonly digest: string;
}

/** Stand for a secret that lies in the section `secrets`. No PEM and no JSON begins like this. */
const SECRET_PREFIX = "secret:";

/** What a reference to a secret stands for; what is none stays. Throws an `Error` when the section with the secrets lacks it. */
export function openReference(reference: string, secrets: Readonly<Record<string, string>>): string {
  const secret = reference.startsWith(SECRET_PREFIX) ? secrets[reference.slice(SECRET_PREFIX.length)] : reference;
  if (secret === undefined) throw new Error("a secret is missing");
  return secret;
}

/** Sections that hold a whole list (or object). */
export const WHOLE = ["mesh", "listeners", "filters", "authentications"] as const;
/** Kinds that are spread over sections by name. */
export const SHARDED = ["routes", "services", "endpoints"] as const;

/**
 * Number of shards for so many items: the least power of two that keeps the average within the limit. It depends on nothing
 * else, so that two control planes cut alike.
 */
export function shardCount(items: number): number {
  let shards = 1;
  while (items > shards * CONFIG_LIMITS.shardItems) shards *= 2;
  return shards;
}

/** Shard of a name: FNV-1a with a final mix, so that the low bits are good. */
export function shardOf(name: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash ^= hash >>> 13;
  return (hash >>> 0) & (shards - 1);
}

/** Cuts what a snapshot holds into sections of canonical JSON. Routes, services and endpoints are sharded by name. */
export function cutSections(content: SnapshotContent): Sections {
  const digests: Record<string, string> = {};
  const bytes = new Map<string, Uint8Array>();
  const add = (name: string, section: Section): void => {
    digests[name] = section.digest;
    bytes.set(section.digest, section.encoded);
  };
  const secrets: Record<string, string> = {};
  const open = mapSecrets(content, (secret) => {
    const digest = sha256Digest(secret);
    secrets[digest] = secret;
    return SECRET_PREFIX + digest;
  });
  for (const name of WHOLE) add(name, encodeSection(open[name]));
  for (const name of SHARDED) {
    const items: readonly object[] = open[name];
    const shards = shardCount(items.length);
    const buckets = Array.from({ length: shards }, (): object[] => []);
    for (const item of items) buckets[shardOf(nameOfItem(item), shards)]?.push(item);
    for (const [i, bucket] of buckets.entries()) add(`${name}-${i}of${shards}`, encodeShard(bucket));
  }
  add("secrets", encodeSection(secrets));
  return { digests, bytes, digest: sha256Digest(canonicalJson(digests)) };
}

interface Section {
  readonly encoded: Uint8Array;
  readonly digest: string;
}

function encodeSection(value: unknown): Section {
  const encoded = new TextEncoder().encode(canonicalJson(value));
  return { encoded, digest: sha256Digest(encoded) };
}

/** Shards encoded before, by their first item, with the items that they hold: most stay the same from one compile to the next. */
const shards = new WeakMap<object, { readonly items: readonly object[]; readonly section: Section }>();

function encodeShard(items: readonly object[]): Section {
  const first = items[0];
  const known = first === undefined ? undefined : shards.get(first);
  if (known !== undefined && known.items.length === items.length && known.items.every((each, i) => each === items[i]))
    return known.section;
  const section = encodeSection(items);
  // Only of items that never change: the same object, the same bytes.
  if (first !== undefined && items.every(isCanonicalItem)) shards.set(first, { items, section });
  return section;
}

/** Of a route, a service, a set of endpoints, a listener. */
export const nameOfItem = (item: object): string =>
  "service" in item ? String(item.service) : "name" in item ? String(item.name) : "";

/** The manifest and the sections of a snapshot. `cut`: its sections, when they are known (`CompileResult.sections`). */
export function splitSections(
  snapshot: Snapshot,
  publishedAtMs: number,
  cut: Sections = cutSections(snapshot),
): { readonly manifest: Manifest; readonly sections: ReadonlyMap<string, Uint8Array> } {
  const { digests, bytes, digest } = cut;
  const modules = [...new Set(snapshot.filters.map((filter) => filter.digest))].sort(compareText);
  const { revision, group } = snapshot;
  return { manifest: { revision, digest, group, sections: digests, modules, publishedAtMs }, sections: bytes };
}

/** For dumps: private keys and inline secrets replaced by `[redacted]`. */
export function redactSnapshot(snapshot: Snapshot): Snapshot {
  const redacted = mapSecrets(snapshot, () => "[redacted]");
  const filters = redacted.filters.map((filter) => ({ ...filter, settings: redactSettings(filter.settings) }));
  return { ...redacted, filters };
}
