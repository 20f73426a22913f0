import type { ConfigIssue } from "./issue.ts";
import type { Manifest } from "./sections.ts";
import type { Snapshot } from "./snapshot.ts";

/**
 * Seam 8: where a proxy's snapshots come from. A file, the in-process bus and NATS implement it; the supervisor's pipe to its
 * workers as well.
 */
export interface SnapshotSource {
  /**
   * Starts watching. `onSnapshot` gets each new snapshot, newest revision wins; never two calls at once. `onRefused` gets why what
   * is there now does not become a snapshot, and an empty list when it is good again, before the snapshot that it is; a source
   * that gets whole snapshots only never calls it.
   */
  start(onSnapshot: (update: SnapshotUpdate) => void, onRefused?: (issues: readonly ConfigIssue[]) => void): Promise<void>;
  /** Says what became of a snapshot. */
  report(outcome: SnapshotOutcome): void;
  /** Publishes a message where the snapshots come from; false: not connected now. Absent: nothing can be published there. */
  publish?(subject: string, payload: Uint8Array): boolean;
  stop(): Promise<void>;
}

export interface SnapshotUpdate {
  readonly snapshot: Snapshot;
  /** Bytes of the modules that the snapshot names, by digest; those already known may be missing. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  /** When the change was published, wall clock; for the apply latency. Undefined: unknown. */
  readonly publishedAtMs: number | undefined;
  /** The same snapshot as it came, in sections, so that who passes it on need not cut it again. Undefined: it came whole. */
  readonly cut?: { readonly manifest: Manifest; readonly sections: ReadonlyMap<string, Uint8Array> };
}

export type SnapshotOutcome =
  | { readonly kind: "applied"; readonly revision: number; readonly digest: string; readonly applyMs: number }
  | { readonly kind: "rejected"; readonly revision: number; readonly digest: string; readonly issues: readonly ConfigIssue[] };
