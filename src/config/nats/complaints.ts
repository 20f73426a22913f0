import type { Clock } from "../../core/clock.ts";

const FIRST_MS = 10_000;
const LAST_MS = 600_000;
/** Different complaints that are remembered; the oldest go first. */
const REMEMBERED = 16;

/** Says what is wrong once, and then ever more rarely: what is tried again every second is not logged every second. */
export class Complaints {
  readonly #said = new Map<string, { delayMs: number; nextMs: number }>();
  #sinceMs: number | undefined;

  constructor(readonly clock: Clock) {}

  /** Is it time to say this (again)? */
  isDue(what: string): boolean {
    const nowMs = this.clock.nowMs();
    this.#sinceMs ??= nowMs;
    const before = this.#said.get(what);
    if (before !== undefined && nowMs < before.nextMs) return false;
    const delayMs = before === undefined ? FIRST_MS : Math.min(LAST_MS, before.delayMs * 2);
    this.#said.delete(what);
    this.#said.set(what, { delayMs, nextMs: nowMs + delayMs });
    const [oldest] = this.#said.keys();
    if (this.#said.size > REMEMBERED && oldest !== undefined) this.#said.delete(oldest);
    return true;
  }

  /** It is all right again: what comes next is new. Answers for how long something was wrong, in whole milliseconds; undefined: nothing was. */
  forget(): number | undefined {
    const sinceMs = this.#sinceMs;
    this.#sinceMs = undefined;
    this.#said.clear();
    return sinceMs === undefined ? undefined : Math.round(this.clock.nowMs() - sinceMs);
  }
}

/** What to do about a refusal of the server, in its own words; "" when they say enough. */
export function natsHint(cause: string): string {
  if (/permissions? violation/i.test(cause))
    return "this user may not do that: --id and --group must be those of the user (`selvedge permissions` makes both)";
  return connectHint(cause);
}

/** What to do about a connection that does not come about, in the words of the server, the library or the runtime's TLS; "" when they say enough. */
export function connectHint(cause: string): string {
  if (/authoriz|authentic|user jwt|nkey/i.test(cause))
    return "the server refuses this user: look at --nats-user and --nats-password, --nats-token or --nats-credentials";
  if (/certificate.*expired|CERT_HAS_EXPIRED/i.test(cause)) return "the server needs a new certificate";
  if (/altname|not ?valid ?for ?name/i.test(cause))
    return "name the server in --nats as its certificate does, or give it one that has this name";
  if (/self.signed|unable to (get|verify)|unknown ?issuer|UNABLE_TO_|SELF_SIGNED/i.test(cause))
    return "its certificate is signed by no authority that is known here: --nats-ca names the PEM of the one that did";
  return "";
}
