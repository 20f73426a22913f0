import type { Snapshot } from "../../config/snapshot.ts";

/** A compiled snapshot on its way to the proxies of its group. */
export interface Publication {
  readonly snapshot: Snapshot;
  /** Bytes of every module that the snapshot names, by digest. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  /** Wall clock of the apply, from the log, so that two control planes write the same bytes. */
  readonly publishedAtMs: number;
}

/** What a proxy said about itself last; `selvedge.proxy.<id>.status`. */
export interface ProxyStatusMessage {
  readonly id: string;
  readonly group: string;
  readonly version: string;
  /** What happened last: it took a snapshot, refused one, or nothing. */
  readonly outcome: "applied" | "rejected" | "none";
  /** Revision that serves now; 0: none. */
  readonly revision: number;
  readonly digest: string;
  /** Revision that was refused; 0: none. */
  readonly rejectedRevision: number;
  readonly issues: readonly import("../../config/issue.ts").ConfigIssue[];
  readonly applyMs: number;
}

/** Brings snapshots to proxies and hears what became of them. The in-process bus and NATS implement it. */
export interface Distributor {
  open(): Promise<void>;
  /** Idempotent; an older revision never overwrites a newer one. */
  publish(publication: Publication): Promise<void>;
  /** Revision that is published for a group; 0: none. */
  publishedRevision(group: string): Promise<number>;
  onStatus(handle: (message: ProxyStatusMessage) => void): void;
  close(): Promise<void>;
}
