import { canonicalJson, sha256Digest } from "./canonical.ts";
import { mapAuthenticationSecrets, mapListenerSecrets, mapServiceSecrets } from "./secrets.ts";
import { nameOfItem, SECRET_PREFIX, SHARDED, shardCount, shardOf, WHOLE } from "./section-layout.ts";
import type { Sections, SnapshotContent } from "./sections.ts";
import type { ServiceConfig } from "./snapshot.ts";
import { diffLists, patchList } from "./sorted-list.ts";

type Kind = (typeof SHARDED)[number];

interface Section {
  readonly encoded: Uint8Array;
  readonly digest: string;
  /** Secrets that it refers to, by their digests. */
  readonly secrets: ReadonlyMap<string, string>;
}

/** Items of one section, sorted by name. */
interface Shard {
  readonly items: readonly object[];
  readonly section: Section;
}

interface CutList {
  readonly list: readonly object[];
  readonly shards: readonly Shard[];
}

interface CutWhole {
  readonly value: unknown;
  readonly section: Section;
}

/**
 * Cuts the content of one snapshot after another into sections. What comes out depends on the content alone; sections whose
 * items are the same objects as before are not encoded again.
 */
export class SectionCutter {
  readonly #wholes = new Map<string, CutWhole>();
  readonly #lists = new Map<Kind, CutList>();

  /** Lists are sorted by name, and nothing in them ever changes. */
  cut(content: SnapshotContent): Sections {
    const digests: Record<string, string> = {};
    const bytes = new Map<string, Uint8Array>();
    const secrets: Record<string, string> = {};
    const add = (name: string, section: Section): void => {
      digests[name] = section.digest;
      bytes.set(section.digest, section.encoded);
      for (const [digest, secret] of section.secrets) secrets[digest] = secret;
    };
    for (const name of WHOLE) add(name, this.#cutWhole(name, content));
    for (const kind of SHARDED) {
      const { shards } = this.#cutList(kind, content[kind]);
      for (const [i, { section }] of shards.entries()) add(`${kind}-${i}of${shards.length}`, section);
    }
    add("secrets", encode(secrets, new Map()));
    return { digests, bytes, digest: sha256Digest(canonicalJson(digests)) };
  }

  #cutWhole(name: (typeof WHOLE)[number], content: SnapshotContent): Section {
    const value = content[name];
    const known = this.#wholes.get(name);
    if (known?.value === value) return known.section;
    const section = encodeWhole(name, content);
    this.#wholes.set(name, { value, section });
    return section;
  }

  #cutList(kind: Kind, list: readonly object[]): CutList {
    const known = this.#lists.get(kind);
    if (known?.list === list) return known;
    const count = shardCount(list.length);
    const shards = known?.shards.length === count ? changeShards(kind, known, list) : makeShards(kind, list, count);
    const cut = { list, shards };
    this.#lists.set(kind, cut);
    return cut;
  }
}

function makeShards(kind: Kind, list: readonly object[], count: number): Shard[] {
  const buckets = Array.from({ length: count }, (): object[] => []);
  for (const item of list) buckets[shardOf(nameOfItem(item), count)]?.push(item);
  return buckets.map((items) => ({ items, section: encodeItems(kind, items) }));
}

function changeShards(kind: Kind, known: CutList, list: readonly object[]): Shard[] {
  const shards = [...known.shards];
  const { removed, added } = diffLists(known.list, list, nameOfItem);
  const edits = new Map<number, { readonly gone: string[]; readonly come: object[] }>();
  const editOf = (item: object): { readonly gone: string[]; readonly come: object[] } => {
    const at = shardOf(nameOfItem(item), shards.length);
    const edit = edits.get(at) ?? { gone: [], come: [] };
    edits.set(at, edit);
    return edit;
  };
  for (const item of removed) editOf(item).gone.push(nameOfItem(item));
  for (const item of added) editOf(item).come.push(item);
  for (const [at, { gone, come }] of edits) {
    const items = patchList(shards[at]?.items ?? [], gone, come, nameOfItem);
    shards[at] = { items, section: encodeItems(kind, items) };
  }
  return shards;
}

// ---------------------------------------------------------------- encoding

function encodeItems(kind: Kind, items: readonly object[]): Section {
  const closer = new SecretCloser();
  if (kind !== "services") return encode(items, closer.secrets);
  return encode(
    items.map((each) => mapServiceSecrets(each as ServiceConfig, closer.close)),
    closer.secrets,
  );
}

function encodeWhole(name: (typeof WHOLE)[number], content: SnapshotContent): Section {
  const closer = new SecretCloser();
  if (name === "listeners") {
    const listeners = content.listeners.map((each) => mapListenerSecrets(each, closer.close));
    return encode(listeners, closer.secrets);
  }
  if (name === "authentications") {
    const authentications = content.authentications.map((each) => mapAuthenticationSecrets(each, closer.close));
    return encode(authentications, closer.secrets);
  }
  return encode(content[name], closer.secrets);
}

function encode(value: unknown, secrets: ReadonlyMap<string, string>): Section {
  const encoded = new TextEncoder().encode(canonicalJson(value));
  return { encoded, digest: sha256Digest(encoded), secrets };
}

/** Puts references in the place of secrets, and remembers what they stand for. */
class SecretCloser {
  readonly secrets = new Map<string, string>();
  readonly close = (secret: string): string => {
    const digest = sha256Digest(secret);
    this.secrets.set(digest, secret);
    return SECRET_PREFIX + digest;
  };
}
