/** Sequences remembered: far more than can be under way. */
const MATCHED_MAX = 10_000;

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
  /** Sequences that were matched, ours and others', in whatever order we heard of them. */
  readonly #matched = new Set<number>();

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
   * The stored message `sequence` was processed, by us or by another control plane. Answers the reply subject that its result
   * belongs to; "" when nobody waits, when it was matched before, or when the direct message did not come yet (then
   * `onArrival` gets the result). `direct`: it was stored while we were listening, so a direct message must come.
   * Each sequence uses up exactly one direct message, whichever comes first: else all later ones of that content would be
   * answered with their neighbour's result.
   */
  onProcessed(sequence: number, digest: string, result: T, direct: boolean, nowMs: number): string {
    if (this.#matched.has(sequence)) return "";
    this.#matched.add(sequence);
    if (this.#matched.size > MATCHED_MAX) this.#matched.delete(this.#matched.values().next().value as number);
    const arrival = shiftFresh(this.#arrivals, digest, nowMs - this.keepArrivalMs);
    if (arrival !== undefined) return arrival.reply;
    if (direct) push(this.#early, digest, { result, atMs: nowMs });
    return "";
  }

  /** Drops what was never matched. */
  sweep(nowMs: number): void {
    dropOld(this.#arrivals, nowMs - this.keepArrivalMs);
    dropOld(this.#early, nowMs - this.keepResultMs);
  }

  /** The stream was made anew: its sequences start again. */
  reset(): void {
    this.#matched.clear();
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
