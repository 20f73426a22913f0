import type { ConfigIssue } from "../../config/issue.ts";
import { HEARTBEAT_MS, type ProxyStatusMessage, STATUS_ISSUES } from "../../config/nats/status.ts";
import type { Clock } from "../../core/clock.ts";
import type { ProxyEvent } from "../../core/events.ts";
import { CONTROL_LIMITS, EVENT_LIMITS } from "../../core/limits.ts";

/** A proxy as the control plane sees it. */
export interface ProxyStatus {
  readonly id: string;
  readonly group: string;
  readonly version: string;
  /** Revision that serves there; 0: none. */
  readonly revision: number;
  readonly digest: string;
  /** Revision that it refused last; 0: none since the last good one. */
  readonly rejectedRevision: number;
  readonly issues: readonly ConfigIssue[];
  readonly applyMs: number;
  /** What happened to it, the newest first. */
  readonly events: readonly ProxyEvent[];
  /** Wall clock of its last message. */
  readonly seenAtMs: number;
}

export interface WaitOutcome {
  /** Every live proxy (and at least `minimum` of them) applied the revision or a newer one. */
  readonly ok: boolean;
  readonly pending: readonly string[];
  readonly rejected: readonly { readonly id: string; readonly issues: readonly ConfigIssue[] }[];
}

/** Three heartbeats with their jitter. */
const EXPIRE_MS = HEARTBEAT_MS * 4;
/** Who serves what, from the proxies' own messages. */
export class ProxyTable {
  readonly #proxies = new Map<string, { status: ProxyStatus; readonly local: boolean; aliveAtMs: number }>();
  readonly #waiters = new Set<() => void>();
  #expiredAtMs = Number.NEGATIVE_INFINITY;

  constructor(readonly clock: Clock) {}

  /** `local`: in this process, has no heartbeat and never expires. */
  update(message: ProxyStatusMessage, local: boolean): void {
    if (message.leaving) this.#proxies.delete(message.id);
    else if (this.#proxies.has(message.id) || this.#hasRoom()) {
      const { leaving: _, issues, events = [], ...rest } = message;
      const kept = { issues: issues.slice(0, STATUS_ISSUES), events: events.slice(0, EVENT_LIMITS.published) };
      const status = { ...rest, ...kept, seenAtMs: this.clock.wallMs() };
      this.#proxies.set(message.id, { status, local, aliveAtMs: this.clock.nowMs() });
    }
    for (const check of [...this.#waiters]) check();
  }

  /** Statuses come from the network. Who is known stays: of strangers, however many, none takes the place of one that lives. */
  #hasRoom(): boolean {
    if (this.#proxies.size < CONTROL_LIMITS.proxies) return true;
    // Once in a heartbeat: what finds no room must not cost a walk over all each time.
    const nowMs = this.clock.nowMs();
    if (nowMs - this.#expiredAtMs < HEARTBEAT_MS) return false;
    this.#expire();
    return this.#proxies.size < CONTROL_LIMITS.proxies;
  }

  #expire(): void {
    const nowMs = this.clock.nowMs();
    this.#expiredAtMs = nowMs;
    for (const [id, { local, aliveAtMs }] of this.#proxies) if (!local && nowMs - aliveAtMs > EXPIRE_MS) this.#proxies.delete(id);
  }

  /** Those that are alive, by id. */
  list(): ProxyStatus[] {
    this.#expire();
    return [...this.#proxies.values()].map((each) => each.status).sort((one, other) => (one.id < other.id ? -1 : 1));
  }

  /** Resolves when all live proxies have applied `revision`, one of them refused it, or the time is over. */
  wait(revision: number, timeoutMs: number, minimum: number): Promise<WaitOutcome> {
    return new Promise((resolve) => {
      const finish = (outcome: WaitOutcome): void => {
        timer.cancel();
        this.#waiters.delete(check);
        resolve(outcome);
      };
      const check = (): void => {
        const outcome = this.#judge(revision, minimum);
        if (outcome.ok || outcome.rejected.length > 0) finish(outcome);
      };
      const timer = this.clock.setTimer(timeoutMs, () => finish(this.#judge(revision, minimum)));
      this.#waiters.add(check);
      check();
    });
  }

  #judge(revision: number, minimum: number): WaitOutcome {
    const proxies = this.list();
    const rejected = proxies.filter((each) => each.rejectedRevision >= revision).map(({ id, issues }) => ({ id, issues }));
    const pending = proxies.filter((each) => each.revision < revision && each.rejectedRevision < revision).map((each) => each.id);
    return { ok: pending.length === 0 && rejected.length === 0 && proxies.length >= minimum, pending, rejected };
  }
}
