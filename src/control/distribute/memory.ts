import { type ProxyStatusMessage, STATUS_ISSUES } from "../../config/nats/status.ts";
import type { SnapshotOutcome } from "../../config/source.ts";
import { SnapshotBus } from "../../config/source-memory.ts";
import type { ProxyEvent } from "../../core/events.ts";
import type { FilterLogPage, FilterLogQuery } from "../../core/filter-logs.ts";
import type { Distributor, Publication } from "./distributor.ts";

/** For proxies in the same process: they take their source from `bus`. */
export class MemoryDistributor implements Distributor {
  readonly bus = new SnapshotBus((id, outcome) => this.#onOutcome(id, outcome));
  readonly #statuses = new Map<string, ProxyStatusMessage>();
  #handle: (message: ProxyStatusMessage, local: boolean) => void = () => {};

  constructor(
    readonly group: string,
    readonly version: string,
  ) {
    this.bus.onEvents = (id, events) => this.#onEvents(id, events);
  }

  async open(): Promise<void> {}

  async publish({ snapshot, modules, publishedAtMs }: Publication): Promise<void> {
    // One bus serves one group.
    if (snapshot.group === this.group) this.bus.publish({ snapshot, modules, publishedAtMs });
  }

  async publishedRevision(): Promise<number> {
    return this.bus.last?.snapshot.revision ?? 0;
  }

  onStatus(handle: (message: ProxyStatusMessage, local: boolean) => void): void {
    this.#handle = handle;
  }

  filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogPage | undefined> {
    return this.bus.filterLogs(proxyId, query);
  }

  async close(): Promise<void> {}

  #onOutcome(id: string, outcome: SnapshotOutcome): void {
    const before = this.#statuses.get(id);
    const { revision, digest } = outcome;
    const { events = [] } = before ?? {};
    const base = { id, group: this.group, version: this.version, leaving: false, events };
    const message: ProxyStatusMessage =
      outcome.kind === "applied"
        ? { ...base, revision, digest, applyMs: outcome.applyMs, rejectedRevision: 0, issues: [] }
        : {
            ...{ ...base, revision: before?.revision ?? 0, digest: before?.digest ?? "", applyMs: before?.applyMs ?? 0 },
            ...{ rejectedRevision: revision, issues: outcome.issues.slice(0, STATUS_ISSUES) },
          };
    this.#tell(message);
  }

  /** What happens to a proxy before it said anything of a snapshot is told with that. */
  #onEvents(id: string, events: readonly ProxyEvent[]): void {
    const before = this.#statuses.get(id);
    if (before !== undefined) this.#tell({ ...before, events });
  }

  #tell(message: ProxyStatusMessage): void {
    this.#statuses.set(message.id, message);
    this.#handle(message, true);
  }
}
