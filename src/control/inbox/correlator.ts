/**
 * A message that JetStream stored has lost its reply subject. Every control plane therefore also hears each message directly,
 * with its reply, and matches the two by content and order: the n-th direct message with a digest is the n-th stored one.
 * Whoever processes the stored message answers; the others are told and strike it off too. Pure: no network, no clock.
 */
export class ReplyCorrelator<T> {
  /** Direct messages whose stored twin was not processed yet, by digest, oldest first. "": nobody waits. */
  readonly #arrivals = new Map<string, { readonly reply: string; readonly atMs: number }[]>();
  /** Results whose direct message did not arrive yet (it took another way through the cluster). */
  readonly #early = new Map<string, { readonly result: T; readonly atMs: number }[]>();
  #processed = 0;

  constructor(
    /** How long an unmatched arrival or result is kept, in ms. */
    readonly keepArrivalMs = 120_000,
    readonly keepResultMs = 2_000,
  ) {}

  /** A direct message came. Answers the result when its stored twin was processed already. */
  onArrival(digest: string, reply: string, nowMs: number): T | undefined {
    const early = shiftFresh(this.#early, digest, nowMs - this.keepResultMs);
    if (early !== undefined) return early.result;
    push(this.#arrivals, digest, { reply, atMs: nowMs });
    return undefined;
  }

  /**
   * We processed the stored message `sequence`. Answers the reply subject to send the result to, "" when nobody waits or
   * the direct message did not come yet. `direct`: it was stored while we were listening, so a direct message must come.
   */
  onResult(sequence: number, digest: string, result: T, direct: boolean, nowMs: number): string {
    const known = sequence <= this.#processed;
    this.#processed = Math.max(this.#processed, sequence);
    const arrival = known ? undefined : shiftFresh(this.#arrivals, digest, nowMs - this.keepArrivalMs);
    if (arrival !== undefined) return arrival.reply;
    if (!known && direct) push(this.#early, digest, { result, atMs: nowMs });
    return "";
  }

  /** Another control plane processed it, and answered. */
  onProcessedElsewhere(sequence: number, digest: string, nowMs: number): void {
    if (sequence <= this.#processed) return;
    this.#processed = sequence;
    shiftFresh(this.#arrivals, digest, nowMs - this.keepArrivalMs);
  }

  /** Drops what was never matched. */
  sweep(nowMs: number): void {
    dropOld(this.#arrivals, nowMs - this.keepArrivalMs);
    dropOld(this.#early, nowMs - this.keepResultMs);
  }

  /** The stream was made anew: its sequences start again. */
  reset(): void {
    this.#processed = 0;
  }

  get size(): number {
    return this.#arrivals.size + this.#early.size;
  }
}

function push<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function shiftFresh<V extends { readonly atMs: number }>(map: Map<string, V[]>, key: string, sinceMs: number): V | undefined {
  const list = map.get(key);
  let value = list?.shift();
  while (value !== undefined && value.atMs < sinceMs) value = list?.shift();
  if (list?.length === 0) map.delete(key);
  return value;
}

function dropOld<V extends { readonly atMs: number }>(map: Map<string, V[]>, sinceMs: number): void {
  for (const [key, list] of map) {
    const fresh = list.filter((each) => each.atMs >= sinceMs);
    if (fresh.length === 0) map.delete(key);
    else if (fresh.length !== list.length) map.set(key, fresh);
  }
}
