import type { Clock } from "./clock.ts";
import { EVENT_LIMITS } from "./limits.ts";

/** What can happen to a proxy that its operator should hear of without reading logs. Closed: it stands in answers and tables. */
export const EVENT_KINDS = {
  filter_broke: "An instance of a filter broke and was thrown away.",
  filter_start_failed: "A filter could not be started again.",
  filter_quarantined: "A filter broke too often and is not run any more.",
  filter_released: "A filter left quarantine: it was released, changed or is used no more.",
  filter_disabled: "A filter was switched off: by hand in this proxy, or by configuration.",
  filter_enabled: "A filter that was switched off runs again.",
  module_refused: "A module was not taken: unsigned, or it does not load.",
  snapshot_refused: "A configuration was refused; what served before, if anything did, goes on.",
  snapshot_missing: "A configuration cannot be fetched yet, or what was fetched is not what it should be.",
  worker_replaced: "A worker died or hung; another one took its place.",
  source_lost: "The source of configuration is out of reach; what was applied last goes on.",
  source_back: "The source of configuration is back.",
  draining: "The proxy stops: readiness fails, what is under way finishes.",
} as const;

export type EventKind = keyof typeof EVENT_KINDS;

/** One thing that happened, once or again and again. Plain data: it passes pipes and NATS. */
export interface ProxyEvent {
  readonly kind: EventKind;
  /** What it happened to: a filter, a worker, a revision. */
  readonly subject: string;
  /** Why, the last time. */
  readonly reason: string;
  /** The process that it happened in; absent: the proxy as a whole. */
  readonly worker?: number;
  /** How often. */
  readonly count: number;
  /** The first and the last time, wall clock. */
  readonly firstMs: number;
  readonly lastMs: number;
}

/**
 * The last things that happened, in bounded memory. What happens to the same subject again is one entry with a count and the
 * newest reason, so that a filter that breaks a thousand times a second does not push everything else out.
 */
export class EventLog {
  /** By kind, subject and worker; the one that happened last stands last. */
  readonly #events = new Map<string, ProxyEvent>();
  /** What happened since `takeNew`, with its own counts. */
  readonly #fresh = new Map<string, ProxyEvent>();

  /** Called when something was added: by whom it is passed on. */
  onChange: () => void = () => {};

  constructor(readonly clock: Clock) {}

  add(kind: EventKind, subject: string, reason: string): void {
    const nowMs = this.clock.wallMs();
    const event: ProxyEvent = { kind, subject: cut(subject), reason: cut(reason), count: 1, firstMs: nowMs, lastMs: nowMs };
    keep(this.#events, event);
    keep(this.#fresh, event);
    this.onChange();
  }

  /** Takes in what another process saw. */
  merge(events: readonly ProxyEvent[], worker: number): void {
    for (const event of events) keep(this.#events, { ...event, worker });
    if (events.length > 0) this.onChange();
  }

  /** The newest first. */
  list(most: number = EVENT_LIMITS.kept): ProxyEvent[] {
    return [...this.#events.values()].reverse().slice(0, most);
  }

  /** What happened since the last call, oldest first; counts are of that time only. */
  takeNew(): ProxyEvent[] {
    const fresh = [...this.#fresh.values()];
    this.#fresh.clear();
    return fresh;
  }
}

function keep(events: Map<string, ProxyEvent>, event: ProxyEvent): void {
  const key = `${event.kind}\n${event.worker ?? ""}\n${event.subject}`;
  const before = events.get(key);
  events.delete(key);
  events.set(
    key,
    before === undefined
      ? event
      : { ...event, count: before.count + event.count, firstMs: Math.min(before.firstMs, event.firstMs) },
  );
  if (events.size <= EVENT_LIMITS.kept) return;
  const [oldest] = events.keys();
  if (oldest !== undefined) events.delete(oldest);
}

const cut = (text: string): string =>
  text.length <= EVENT_LIMITS.textChars ? text : `${text.slice(0, EVENT_LIMITS.textChars - 1)}…`;
