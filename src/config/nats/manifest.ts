import { utf8Bytes, utf8Text } from "../../core/bytes.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { sha256Digest } from "../canonical.ts";
import type { Manifest } from "../sections.ts";

/**
 * A manifest as it travels: small sections that are new come inside, so that a proxy that follows asks for nothing. They are
 * plain text: whoever may read a manifest can open all that it names. What is inside need not be an object yet.
 */
export interface Announcement {
  readonly manifest: Manifest;
  /** Bytes by digest, each verified. */
  readonly inline: ReadonlyMap<string, Uint8Array>;
}

/** Sections and modules that a manifest names. */
export function digestsOf(manifest: Manifest): string[] {
  return [...Object.values(manifest.sections), ...manifest.modules];
}

/** The text of a section as it stands in an announcement; its length is what counts for the bound. */
export const quoteSection = (bytes: Uint8Array): string => JSON.stringify(new TextDecoder().decode(bytes));

/** `inline`: texts by digest, quoted. */
export function formatAnnouncement(manifest: Manifest, inline: ReadonlyMap<string, string>): string {
  const text = JSON.stringify(manifest);
  if (inline.size === 0) return text;
  const fields = [...inline].map(([digest, quoted]) => `${JSON.stringify(digest)}:${quoted}`);
  return `${text.slice(0, -1)},"inline":{${fields.join(",")}}}`;
}

/** Throws an `Error` when the bytes are not a manifest. A section inside that does not fit its digest is left out: it must be had elsewhere. */
export function parseAnnouncement(bytes: Uint8Array): Announcement {
  const value = parseObject(bytes);
  const manifest = manifestOf(value);
  const inline = new Map<string, Uint8Array>();
  const { inline: texts } = value as { readonly inline?: unknown };
  if (typeof texts === "object" && texts !== null) {
    for (const [digest, text] of Object.entries(texts)) {
      const content = utf8Bytes(String(text));
      if (sha256Digest(content) === digest) inline.set(digest, content);
    }
  }
  return { manifest, inline };
}

/** Throws an `Error` when the bytes are not a manifest: they come from the network or the disk. */
export function parseManifest(bytes: Uint8Array): Manifest {
  return manifestOf(parseObject(bytes));
}

function parseObject(bytes: Uint8Array): object {
  const value = parseShallowJson(utf8Text(bytes));
  if (typeof value !== "object" || value === null) throw new Error("the manifest is not an object");
  return value;
}

const DIGEST = /^sha256:[0-9a-f]{64}$/;

const isDigest = (value: unknown): value is string => typeof value === "string" && DIGEST.test(value);

function manifestOf(value: object): Manifest {
  const { revision, digest, group, sections, modules, publishedAtMs } = value as Partial<Manifest>;
  if (!Number.isSafeInteger(revision) || revision === undefined || revision < 1) throw new Error("the manifest has no revision");
  if (!isDigest(digest)) throw new Error("the manifest has no digest");
  if (typeof group !== "string") throw new Error("the manifest has no group");
  if (typeof sections !== "object" || sections === null || !Array.isArray(modules))
    throw new Error("the manifest has no sections");
  for (const name in sections)
    if (!isDigest(sections[name])) throw new Error("the manifest names something that is not a digest");
  if (!modules.every(isDigest)) throw new Error("the manifest names something that is not a digest");
  return { revision, digest, group, sections, modules, publishedAtMs: typeof publishedAtMs === "number" ? publishedAtMs : 0 };
}
