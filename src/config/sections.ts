import { compareText } from "./canonical.ts";
import { REDACTED, redactSettings, SecretPlaces, settingsValue } from "./secret-values.ts";
import { mapSecrets } from "./secrets.ts";
import { SectionCutter } from "./section-cutter.ts";
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

/** Cuts what a snapshot holds into sections of canonical JSON. Routes, services and endpoints are sharded by name. */
export function cutSections(content: SnapshotContent): Sections {
  return new SectionCutter().cut(content);
}

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
  const redacted = mapSecrets(snapshot, () => REDACTED);
  const filters = redacted.filters.map((filter) => {
    const places = new SecretPlaces(new Set(filter.secrets));
    const value = settingsValue(filter.settings);
    const shown = redactSettings(value, places);
    return { ...filter, settings: value === filter.settings ? String(shown) : JSON.stringify(shown) };
  });
  return { ...redacted, filters };
}
