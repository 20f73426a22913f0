import { CONTROL_LIMITS } from "../../core/limits.ts";
import { type Log, SILENT_LOG } from "../../core/log.ts";

/** Why a message is passed over: the same words in log and status. */
export const UNREADABLE_CODES = {
  not_json: "it is no JSON",
  wrong_shape: "a field is missing or is not what it should be",
  too_deep: "its values are nested too deep",
  object_lost: "the object that it names is not there, or was altered",
} as const;

export type UnreadableCode = keyof typeof UNREADABLE_CODES;

/** A stored message that is passed over as if it were not there: nobody of ours wrote it, or it was altered. */
export interface UnreadableMessage {
  /** Where it lies: `log`, `view` (the bucket of resources), `snapshot` (the bucket of manifests). */
  readonly where: "log" | "view" | "snapshot";
  /** Of the stream, so that an operator can look at it and delete it. */
  readonly sequence: number;
  readonly code: UnreadableCode;
}

/** Reading failed in a way that stays as it is, however often it is tried. */
export class UnreadableError extends Error {
  constructor(readonly code: UnreadableCode) {
    super(UNREADABLE_CODES[code]);
  }
}

/** What could not be read: each is named in the log once, however often it is met. The newest are shown. */
export class UnreadableMessages {
  readonly #messages: UnreadableMessage[] = [];
  readonly #named = new Set<string>();
  #saidEnough = false;

  constructor(readonly log: Log = SILENT_LOG) {}

  note(where: UnreadableMessage["where"], sequence: number, code: UnreadableCode): void {
    const key = `${where} ${sequence}`;
    if (this.#named.has(key)) return;
    if (this.#named.size >= CONTROL_LIMITS.unreadableNamed) {
      this.#sayEnough();
      return;
    }
    this.#named.add(key);
    this.#messages.push({ where, sequence, code });
    if (this.#messages.length > CONTROL_LIMITS.unreadable) this.#messages.shift();
    this.log.error("a stored message cannot be read and is passed over", {
      where,
      sequence,
      code,
      reason: UNREADABLE_CODES[code],
    });
  }

  /** Somebody floods: whom to name next would be forgotten as soon, and named again. */
  #sayEnough(): void {
    if (this.#saidEnough) return;
    this.#saidEnough = true;
    this.log.error("more stored messages cannot be read than are named: further ones are passed over without a word", {
      named: CONTROL_LIMITS.unreadableNamed,
      hint: "find out who may publish there; a restart names what is left",
    });
  }

  /** The newest first. */
  list(): readonly UnreadableMessage[] {
    return this.#messages.toReversed();
  }
}
