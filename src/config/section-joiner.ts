import { utf8Text } from "../core/bytes.ts";
import { isSameData } from "../core/equal.ts";
import { parseShallowJson } from "../core/json-text.ts";
import { sha256Digest } from "./canonical.ts";
import { mapAuthenticationSecrets, mapListenerSecrets, mapServiceSecrets } from "./secrets.ts";
import { nameOfItem, openReference, SHARDED, WHOLE } from "./section-layout.ts";
import type { Manifest } from "./sections.ts";
import type { AuthenticationConfig, ListenerConfig, ServiceConfig, Snapshot } from "./snapshot.ts";
import { diffLists, findNamed, patchList } from "./sorted-list.ts";

type GetBytes = (digest: string) => Uint8Array | undefined;
type WholeName = (typeof WHOLE)[number];
type Secrets = Readonly<Record<string, string>>;

const HOLDS_SECRETS = /^(listeners|authentications|services-.*)$/;

/** A section as it came, and what it means once the secrets are in it. */
interface ReadSection {
  readonly digest: string;
  /** Digest of the section with the secrets that went into `value`. */
  readonly secretsDigest: string;
  readonly closed: unknown;
  readonly value: unknown;
}

interface Joined {
  /** By name of the section. */
  readonly sections: ReadonlyMap<string, ReadSection>;
  readonly snapshot: Snapshot;
}

/** Puts a snapshot together; `get` answers the bytes of a digest. Throws an `Error` when one is missing or does not fit its digest. */
export function joinSections(manifest: Manifest, get: GetBytes): Snapshot {
  return new SectionJoiner().join(manifest, get);
}

/**
 * Joins one manifest after another. What stayed is neither verified nor parsed nor sorted again, and is the same object as before:
 * sections, the items of a section of which others changed, and lists without a change. Who builds something of a snapshot may
 * therefore compare identities.
 */
export class SectionJoiner {
  #last: Joined | undefined;

  /** `verified`: who gives the bytes has compared them with their digests. */
  constructor(readonly verified = false) {}

  /** Throws like `joinSections`; what was known before stays known then. */
  join(manifest: Manifest, get: GetBytes): Snapshot {
    if (digestOfSections(manifest.sections) !== manifest.digest) throw new Error("the manifest does not fit its digest");
    const { revision, digest, group } = manifest;
    const last = this.#last;
    const touched = last === undefined ? ALL_KINDS : touchedKinds(last.sections, manifest.sections);
    const reader = new SectionReader(manifest, last?.sections ?? new Map(), get, this.verified);
    const values: Record<string, unknown> = { ...last?.snapshot, revision, digest, group };
    for (const name of WHOLE) if (touched.has(name)) values[name] = reader.readWhole(name);
    for (const name of SHARDED) if (touched.has(name)) values[name] = reader.readList(name, last?.snapshot[name] ?? []);
    const snapshot = values as unknown as Snapshot;
    this.#last = { sections: reader.sections, snapshot };
    return snapshot;
  }
}

type Digests = Manifest["sections"];

const ALL_KINDS: ReadonlySet<string> = new Set([...WHOLE, ...SHARDED]);

/** As `canonicalJson` has it, by one call for all of it: section names are no numbers, and no value is an object. */
function digestOfSections(sections: Digests): string {
  if (isSorted(sections)) return sha256Digest(JSON.stringify(sections));
  const sorted: Record<string, string> = {};
  for (const name of Object.keys(sections).sort()) sorted[name] = sections[name] ?? "";
  return sha256Digest(JSON.stringify(sorted));
}

/** Who cuts writes them in order. */
function isSorted(sections: Digests): boolean {
  let last = "";
  for (const name in sections) {
    if (name < last) return false;
    last = name;
  }
  return true;
}

/** Kinds of which a section is new, another or gone. With other secrets, all may be. */
function touchedKinds(before: ReadonlyMap<string, ReadSection>, sections: Digests): ReadonlySet<string> {
  const touched = new Set<string>();
  let common = 0;
  for (const name in sections) {
    const former = before.get(name);
    if (former !== undefined) common++;
    if (former?.digest === sections[name]) continue;
    if (name === "secrets") return ALL_KINDS;
    touched.add(kindOf(name));
  }
  if (common < before.size) for (const name of before.keys()) if (sections[name] === undefined) touched.add(kindOf(name));
  return touched;
}

/** `routes-3of8` holds routes. */
function kindOf(section: string): string {
  const end = section.lastIndexOf("-");
  return end < 0 ? section : section.slice(0, end);
}

/** Reads the sections of one manifest that are not as before, beside those of the manifest before. */
class SectionReader {
  /** All of the manifest, once every kind with a change was read. */
  readonly sections: Map<string, ReadSection>;
  readonly #secretsDigest: string;
  readonly #secrets: Secrets;

  constructor(
    readonly manifest: Manifest,
    readonly before: ReadonlyMap<string, ReadSection>,
    readonly get: GetBytes,
    readonly verified: boolean,
  ) {
    this.sections = new Map(before);
    this.#secretsDigest = this.#digestOf("secrets");
    this.#secrets = this.#read("secrets", (closed) => closed).value as Secrets;
  }

  readWhole(name: WholeName): unknown {
    return this.#read(name, (value, former) => this.#openWhole(name, value, former)).value;
  }

  /** All items of a kind, sorted by name; `last` itself when nothing changed. */
  readList(kind: (typeof SHARDED)[number], last: readonly object[]): readonly object[] {
    const prefix = `${kind}-`;
    const gone = new Set<string>();
    const added: object[] = [];
    for (const name in this.manifest.sections) {
      if (!name.startsWith(prefix)) continue;
      const before = this.before.get(name);
      if (before !== undefined && this.#isAsBefore(before, name)) continue;
      const former = (before?.value ?? []) as readonly object[];
      const section = this.#read(name, (value) => this.#openItems(kind, value as readonly object[], former, last));
      if (section.value === former) continue;
      const diff = diffLists(former, section.value as readonly object[], nameOfItem);
      for (const item of diff.removed) gone.add(nameOfItem(item));
      for (const item of diff.added) added.push(item);
    }
    for (const [name, former] of this.before) {
      if (!name.startsWith(prefix) || this.manifest.sections[name] !== undefined) continue;
      this.sections.delete(name);
      for (const item of former.value as object[]) gone.add(nameOfItem(item));
    }
    return this.#patch(last, gone, added);
  }

  #patch(last: readonly object[], gone: Set<string>, added: readonly object[]): readonly object[] {
    const changed: object[] = [];
    for (const item of added) {
      // It may only have moved to another section.
      gone.delete(nameOfItem(item));
      if (findNamed(last, nameOfItem(item), nameOfItem) !== item) changed.push(item);
    }
    return patchList(last, gone, changed, nameOfItem);
  }

  #isAsBefore({ digest, secretsDigest }: ReadSection, name: string): boolean {
    return digest === this.manifest.sections[name] && (secretsDigest === "" || secretsDigest === this.#secretsDigest);
  }

  /** A section of the same digest is what it was; when it holds secrets that changed, it is opened anew. */
  #read(name: string, open: (closed: unknown, former: unknown) => unknown): ReadSection {
    const digest = this.#digestOf(name);
    const former = this.before.get(name);
    if (former !== undefined && this.#isAsBefore(former, name)) return former;
    const secretsDigest = HOLDS_SECRETS.test(name) ? this.#secretsDigest : "";
    const closed = former?.digest === digest ? former.closed : this.#parse(name);
    const section: ReadSection = { digest, secretsDigest, closed, value: open(closed, former?.value) };
    this.sections.set(name, section);
    return section;
  }

  /** Items of a section are in order of names, so most have their former selves at the same place. */
  #openItems(
    kind: (typeof SHARDED)[number],
    closed: readonly object[],
    former: readonly object[],
    last: readonly object[],
  ): object[] {
    let at = 0;
    return closed.map((each) => {
      const item = kind === "services" ? mapServiceSecrets(each as ServiceConfig, this.#change) : each;
      const name = nameOfItem(item);
      while (at < former.length && nameOfItem(former[at] as object) < name) at++;
      const beside = former[at];
      const known = beside !== undefined && nameOfItem(beside) === name ? beside : findNamed(last, name, nameOfItem);
      return keepEqual(known, item);
    });
  }

  #openWhole(name: WholeName, closed: unknown, former: unknown): unknown {
    if (name === "mesh") return keepEqual(former, closed);
    const known = (former ?? []) as readonly object[];
    const opened = (closed as readonly object[]).map((each) => {
      const item = this.#openItem(name, each);
      return keepEqual(
        known.find((other) => nameOfItem(other) === nameOfItem(item)),
        item,
      );
    });
    return opened.length === known.length && opened.every((each, i) => each === known[i]) ? known : opened;
  }

  #openItem(name: WholeName, item: object): object {
    if (name === "listeners") return mapListenerSecrets(item as ListenerConfig, this.#change);
    return name === "authentications" ? mapAuthenticationSecrets(item as AuthenticationConfig, this.#change) : item;
  }

  readonly #change = (reference: string): string => openReference(reference, this.#secrets);

  #digestOf(name: string): string {
    const digest = this.manifest.sections[name];
    if (digest === undefined) throw new Error(`section ${name} is missing in the manifest`);
    return digest;
  }

  #parse(name: string): unknown {
    const digest = this.#digestOf(name);
    const bytes = this.get(digest);
    if (bytes === undefined) throw new Error(`section ${name} (${digest}) is missing`);
    if (!this.verified && sha256Digest(bytes) !== digest) throw new Error(`section ${name} does not fit its digest`);
    const value = parseShallowJson(utf8Text(bytes));
    if (typeof value !== "object" || value === null) throw new Error(`section ${name} is malformed`);
    return value;
  }
}

/** The former object when both say the same. */
function keepEqual<T>(former: T | undefined, value: T): T {
  return former !== undefined && isSameData(former, value) ? former : value;
}
