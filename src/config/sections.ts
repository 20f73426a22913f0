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

/** Cuts a snapshot into sections of canonical JSON. Routes, services and endpoints are sharded by name. */
export function splitSections(
  _snapshot: Snapshot,
  _publishedAtMs: number,
): { readonly manifest: Manifest; readonly sections: ReadonlyMap<string, Uint8Array> } {
  throw new Error("not yet");
}

/** Puts a snapshot together; `get` answers the bytes of a digest. Throws an `Error` when one is missing or does not fit its digest. */
export function joinSections(_manifest: Manifest, _get: (digest: string) => Uint8Array | undefined): Snapshot {
  throw new Error("not yet");
}

/** For dumps: private keys and inline secrets replaced by `[redacted]`. */
export function redactSnapshot(_snapshot: Snapshot): Snapshot {
  throw new Error("not yet");
}
