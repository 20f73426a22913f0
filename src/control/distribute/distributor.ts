import type { ProxyStatusMessage } from "../../config/nats/status.ts";
import type { Sections } from "../../config/sections.ts";
import type { Snapshot } from "../../config/snapshot.ts";
import type { FilterLogPage, FilterLogQuery } from "../../core/filter-logs.ts";

/** A compiled snapshot on its way to the proxies of its group. */
export interface Publication {
  readonly snapshot: Snapshot;
  /** The snapshot's, when they are known: else they are cut again. */
  readonly sections?: Sections;
  /** Bytes of every module that the snapshot names, by digest. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
  /** Wall clock of the apply, from the log, so that two control planes write the same bytes. */
  readonly publishedAtMs: number;
}

/** Brings snapshots to proxies and hears what became of them. The in-process bus and NATS implement it. */
export interface Distributor {
  open(): Promise<void>;
  /** Idempotent; an older revision never overwrites a newer one. Rejects when NATS cannot be reached. */
  publish(publication: Publication): Promise<void>;
  /** Revision that is published for a group; 0: none. */
  publishedRevision(group: string): Promise<number>;
  /** One listener. `local`: the proxy lives in this process. */
  onStatus(handle: (message: ProxyStatusMessage, local: boolean) => void): void;
  /** Asks a proxy what a filter said lately; undefined: it does not answer in time. */
  filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogPage | undefined>;
  close(): Promise<void>;
}
