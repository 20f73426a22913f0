import type { EventLog, ProxyEvent } from "../core/events.ts";
import type { FilterLogPage, FilterLogQuery, FilterLogs } from "../core/filter-logs.ts";
import { EVENT_LIMITS } from "../core/limits.ts";
import type { SnapshotOutcome, SnapshotSource, SnapshotUpdate } from "./source.ts";

/**
 * The in-process bus: a control plane in the same process publishes, every source made from it hears. A source that starts
 * late gets the last update. Outcomes go to `onOutcome` with the proxy's id.
 */
export class SnapshotBus {
  /** Hears what happens to a proxy. */
  onEvents: (proxyId: string, events: readonly ProxyEvent[]) => void = () => {};
  #last: SnapshotUpdate | undefined;
  readonly #logs = new Map<string, FilterLogs>();
  readonly #listeners = new Set<(update: SnapshotUpdate) => void>();

  constructor(readonly onOutcome: (proxyId: string, outcome: SnapshotOutcome) => void = () => {}) {}

  /** The newest update, if any. */
  get last(): SnapshotUpdate | undefined {
    return this.#last;
  }

  /** An update whose revision is older than the last one is dropped. */
  publish(update: SnapshotUpdate): void {
    if (this.#last !== undefined && update.snapshot.revision < this.#last.snapshot.revision) return;
    this.#last = update;
    for (const listener of this.#listeners) listener(update);
  }

  /** What a filter of that proxy said; undefined: nobody is there who could say. */
  async filterLogs(proxyId: string, query: FilterLogQuery): Promise<FilterLogPage | undefined> {
    return this.#logs.get(proxyId)?.read(query);
  }

  /** A source for one proxy. `events`: what happens to it; `logs`: what its filters say. */
  source(proxyId: string, events?: EventLog, logs?: FilterLogs): SnapshotSource {
    if (logs !== undefined) this.#logs.set(proxyId, logs);
    if (events !== undefined) events.onChange = () => this.onEvents(proxyId, events.list(EVENT_LIMITS.published));
    let listener: ((update: SnapshotUpdate) => void) | undefined;
    return {
      start: async (onSnapshot) => {
        if (listener !== undefined) this.#listeners.delete(listener);
        listener = onSnapshot;
        this.#listeners.add(onSnapshot);
        if (this.#last !== undefined) onSnapshot(this.#last);
      },
      report: (outcome) => this.onOutcome(proxyId, outcome),
      stop: async () => {
        if (listener !== undefined) this.#listeners.delete(listener);
        listener = undefined;
        this.#logs.delete(proxyId);
      },
    };
  }
}
