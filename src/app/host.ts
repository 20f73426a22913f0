import type { ConfigIssue } from "../config/issue.ts";
import type { Snapshot } from "../config/snapshot.ts";
import type { ProxyEvent } from "../core/events.ts";
import type { FilterLogPage, FilterLogQuery } from "../core/filter-logs.ts";
import type { FilterAction } from "../filters/contract.ts";
import type { MetricFamily } from "../proxy/observe/aggregator.ts";

/** A running proxy as its admin listener and its process see it, whether it is one process or many. */
export interface ProxyHost {
  /** Takes the first snapshot; resolves when it serves or when there is none yet. */
  start(): Promise<void>;
  /** Takes exchanges: has a snapshot and does not stop. */
  readonly ready: boolean;
  /** Why not; "" when ready. */
  readonly notReadyReason: string;
  status(): Promise<HostStatus>;
  metrics(): Promise<readonly MetricFamily[]>;
  /** What happened, the newest first. */
  events(): Promise<readonly ProxyEvent[]>;
  /** What a filter said lately. Undefined: what serves has no such filter, and none of that name said anything. */
  filterLogs(query: FilterLogQuery): Promise<FilterLogPage | undefined>;
  /** What serves; undefined before the first. */
  snapshot(): Snapshot | undefined;
  /**
   * Switches a filter off or on, or lets it out of quarantine, in all workers. `disable` holds until `enable` or until this
   * program ends, for whatever is loaded under that name. Answers how many workers were told; undefined: what serves has no such filter.
   */
  controlFilter(filter: string, action: FilterAction): number | undefined;
  /** The log file was rotated. */
  reopenLogs(): void;
  /** In an orderly way: readiness fails, listeners close, exchanges finish, tunnels last. Idempotent. */
  drain(): Promise<void>;
  /** Now. Idempotent. */
  stop(): Promise<void>;
}

/** The answer of /status. */
export interface HostStatus {
  readonly id: string;
  readonly version: string;
  readonly mode: "gateway" | "sidecar";
  readonly ready: boolean;
  readonly reason: string;
  readonly uptimeMs: number;
  /** Newest revision that came, and the one that all workers serve; 0: none. */
  readonly revision: number;
  readonly appliedRevision: number;
  readonly digest: string;
  /** Why the newest one, or what the watched files hold now, was refused; empty when it was not. */
  readonly issues: readonly ConfigIssue[];
  readonly inFlight: number;
  readonly source: unknown;
  readonly workers: readonly WorkerStatus[];
}

export interface WorkerStatus {
  readonly index: number;
  readonly pid: number;
  readonly running: boolean;
  readonly revision: number;
  readonly replaced: number;
  readonly inFlight: number;
  readonly residentBytes: number;
  /** Listeners, filters and pools of this worker. */
  readonly dataPlane: unknown;
}

export const hasFilter = (snapshot: Snapshot | undefined, filter: string): boolean =>
  snapshot?.filters.some(({ name }) => name === filter) === true;
