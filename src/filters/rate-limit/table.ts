import { getRandomValues } from "node:crypto";
import { assert } from "../../core/assert.ts";
import type { Clock } from "../../core/clock.ts";

/**
 * Exact rate-limit counters in memory that all worker processes share. No locks: a process may be killed between any two
 * instructions and nothing is lost, counted twice or blocked.
 *
 * A slot is three 64-bit words, each changed by compare-and-set alone:
 *
 *     state  version (12 bits) | phase (2) | TAT in units of 100 ns since the table's epoch (50)
 *     keyA   version (12) | hash (52)          keyB   version (12) | hash (52)
 *
 * The key words belong to the slot's present owner only while their version is the state's. Taking a slot over raises the
 * version first, so whoever still works with the old one fails at the next compare-and-set:
 *
 *     EMPTY, idle LIVE, or abandoned → WRITING (v+1) → keys (v+1) → TENTATIVE → LIVE → TAT moves
 *
 * A key must not live in two slots. Its slot is one of a window of neighbours, and two processes may choose different ones at
 * the same time; so a new slot is TENTATIVE first, then the window is searched for a twin, and only then it goes LIVE. Of two
 * twins at least one process sees the other's; the one that is LIVE, else the lower one, stays. TENTATIVE slots of killed
 * processes are finished by the next one that needs the key.
 *
 * GCRA (ITU-T I.371, annex A): a key's whole state is its theoretical arrival time (TAT). A TAT that has passed equals no
 * state at all, so idle slots need no cleaning: whoever needs room takes them.
 */

const EMPTY = 0;
const WRITING = 1;
const TENTATIVE = 2;
const LIVE = 3;

const HEADER_WORDS = 16;
const SLOT_WORDS = 4;
const WORD_MAGIC = 0;
const WORD_EPOCH = 1;
const WORD_LAST = 2;
const WORD_SECRET = 3;
const WORD_FULL = 5;
const MAGIC = 0x53454c56524c3031n;

/** Neighbouring slots in which a key may live. */
export const WINDOW_SLOTS = 64;
/** Units of time in a millisecond. */
export const UNITS_PER_MS = 10_000;
/** Retries of one decision before the table counts as contended beyond reason. Reached only by a bug. */
const TRIES_MAX = 10_000;

export const REFUSED = 0;
export const ALLOWED = 1;
export const FULL = 2;

/** One question: may `increment` be added to the level of this key, which holds `capacity` at most? */
export interface RateLimitQuestion {
  /** 128-bit keyed hash of the limit's identity and the key. */
  readonly hash: Uint32Array;
  /** Units of 100 ns: emission interval times cost. */
  increment: number;
  /** Units of 100 ns: emission interval times burst. */
  capacity: number;
  /** Consumes and reports, but never refuses a request. */
  shadow: boolean;
  /** Answer: `REFUSED`, `ALLOWED` or `FULL` (no free slot; counts as refused unless the table allows when full). */
  outcome: number;
  /** Answer: units by which TAT lies ahead of now. */
  level: number;
}

export interface RateLimitTableOptions {
  readonly clock: Clock;
  /** What a key without a slot gets when none is free. `deny` (default): an enforcement point that is broken denies. */
  readonly whenFull?: "deny" | "allow";
}

/** Bytes that a table with this many slots needs. */
export const tableBytes = (slots: number): number => (HEADER_WORDS + slots * SLOT_WORDS) * 8;

export class RateLimitTable {
  readonly #words: BigInt64Array;
  /** The same memory in halves, the low one first: reading a 64-bit word makes a BigInt, which costs as much as the rest. */
  readonly #halves: Int32Array;
  readonly #clock: Clock;
  readonly #slots: number;
  readonly #allowWhenFull: boolean;
  /** Added to the monotonic clock: units since the table's epoch. */
  readonly #anchor: number;
  /** The state read last, as it stands in `#half`. */
  #state = 0n;
  // One word taken apart without BigInt arithmetic.
  readonly #word = new BigInt64Array(1);
  readonly #half = new Uint32Array(this.#word.buffer);

  /**
   * `words` is zeroed memory or a table that others use already; at least `tableBytes(WINDOW_SLOTS)` long. Opening is safe at
   * the same time in many processes.
   */
  constructor(words: BigInt64Array, options: RateLimitTableOptions) {
    this.#words = words;
    this.#halves = new Int32Array(words.buffer, words.byteOffset, words.length * 2);
    this.#clock = options.clock;
    this.#allowWhenFull = options.whenFull === "allow";
    this.#slots = Math.floor((words.length - HEADER_WORDS) / SLOT_WORDS);
    assert(this.#slots >= WINDOW_SLOTS, "a rate-limit table has at least one window of slots");
    // Each word is set once by whoever comes first, so that a process killed in the middle leaves nothing half done.
    this.#initialise(WORD_EPOCH, BigInt(Math.floor(options.clock.wallMs())));
    this.#initialise(WORD_SECRET, randomWord());
    this.#initialise(WORD_SECRET + 1, randomWord());
    const magic = this.#initialise(WORD_MAGIC, MAGIC);
    assert(magic === MAGIC, "the memory holds no rate-limit table of this version");
    const epochMs = Number(Atomics.load(words, WORD_EPOCH));
    const wallUnits = (options.clock.wallMs() - epochMs) * UNITS_PER_MS;
    const last = Number(Atomics.load(words, WORD_LAST));
    // A wall clock that was set back since the table began must not lead back in time.
    this.#anchor = Math.max(wallUnits, last) - options.clock.nowMs() * UNITS_PER_MS;
  }

  /** Sets a header word unless somebody did; answers what it is then. */
  #initialise(at: number, value: bigint): bigint {
    const before = Atomics.compareExchange(this.#words, at, 0n, value);
    return before === 0n ? value : before;
  }

  /** 16 bytes: the secret of the hash that keys are made with; differs per table. */
  secret(): Uint8Array {
    const secret = new BigInt64Array([Atomics.load(this.#words, WORD_SECRET), Atomics.load(this.#words, WORD_SECRET + 1)]);
    return new Uint8Array(secret.buffer);
  }

  /** Questions that found no free slot, by all processes together. */
  get fullCount(): number {
    return Number(Atomics.load(this.#words, WORD_FULL));
  }

  /** Slots whose TAT lies ahead; walks the table, for status only. */
  countUsed(): number {
    const now = this.nowUnits();
    let used = 0;
    for (let slot = 0; slot < this.#slots; slot++) {
      this.#readState(slot);
      if (this.#phase() === LIVE && this.#time() > now) used++;
    }
    return used;
  }

  get slots(): number {
    return this.#slots;
  }

  /**
   * Units since the table's epoch: each process's monotonic clock from a common start, and never behind what another process
   * used already. Steps of the wall clock do not matter once a process runs.
   */
  nowUnits(): number {
    const own = Math.floor(this.#anchor + this.#clock.nowMs() * UNITS_PER_MS);
    const last = this.#readLast();
    if (own <= last) return last;
    // Told to the others once a millisecond: rarely enough that the word does not bounce between cores.
    if (own - last >= UNITS_PER_MS) Atomics.compareExchange(this.#words, WORD_LAST, BigInt(last), BigInt(own));
    return own;
  }

  /** The word only grows: with the same high half before and after, the low half belongs to it. */
  #readLast(): number {
    const high = Atomics.load(this.#halves, 2 * WORD_LAST + 1);
    const low = Atomics.load(this.#halves, 2 * WORD_LAST) >>> 0;
    if (Atomics.load(this.#halves, 2 * WORD_LAST + 1) !== high) return Number(Atomics.load(this.#words, WORD_LAST));
    return high * 0x1_0000_0000 + low;
  }

  /**
   * Decides about one request. All limits that are no shadow must allow, or nothing is consumed. Every single key is exact;
   * between the first and the last key of one request another process may see what is given back an instant later.
   */
  decide(questions: readonly RateLimitQuestion[], count: number): boolean {
    const now = this.nowUnits();
    if (count > 1 && !this.#wouldAllow(questions, count, now)) return false;
    for (let i = 0; i < count; i++) {
      const question = questions[i] as RateLimitQuestion;
      this.#take(question, now);
      if (question.outcome === ALLOWED || question.shadow) continue;
      for (let back = 0; back < i; back++) this.#giveBack(questions[back] as RateLimitQuestion, now);
      for (let rest = i + 1; rest < count; rest++) this.#peek(questions[rest] as RateLimitQuestion, now);
      return false;
    }
    return true;
  }

  /** Looks before taking, so that a refusal disturbs nobody. */
  #wouldAllow(questions: readonly RateLimitQuestion[], count: number, now: number): boolean {
    let allowed = true;
    for (let i = 0; i < count; i++) {
      const question = questions[i] as RateLimitQuestion;
      this.#peek(question, now);
      if (question.outcome !== ALLOWED && !question.shadow) allowed = false;
    }
    return allowed;
  }

  #peek(question: RateLimitQuestion, now: number): void {
    const slot = this.#find(question.hash, now);
    question.level = slot < 0 ? 0 : Math.max(0, this.#time() - now);
    question.outcome = question.level + question.increment <= question.capacity ? ALLOWED : REFUSED;
  }

  #take(question: RateLimitQuestion, now: number): void {
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      const slot = this.#findOrInsert(question.hash, now);
      if (slot === NO_ROOM) break;
      if (slot < 0) continue;
      // `#find` left the state of the slot in `#half`.
      const before = this.#state;
      const tat = Math.max(this.#time(), now) + question.increment;
      question.level = tat - question.increment - now;
      question.outcome = REFUSED;
      if (tat - now > question.capacity) return;
      if (Atomics.compareExchange(this.#words, stateAt(slot), before, this.#pack(this.#version(), LIVE, tat)) !== before)
        continue;
      question.level = tat - now;
      question.outcome = ALLOWED;
      return;
    }
    Atomics.add(this.#words, WORD_FULL, 1n);
    question.level = 0;
    question.outcome = this.#allowWhenFull ? ALLOWED : FULL;
  }

  /** A slot that changed hands in between had an idle TAT: there is nothing to give back. */
  #giveBack(question: RateLimitQuestion, now: number): void {
    if (question.outcome !== ALLOWED) return;
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      const slot = this.#find(question.hash, now);
      if (slot < 0) return;
      const before = this.#state;
      const tat = Math.max(0, this.#time() - question.increment);
      question.level = Math.max(0, tat - now);
      if (Atomics.compareExchange(this.#words, stateAt(slot), before, this.#pack(this.#version(), LIVE, tat)) === before) return;
    }
  }

  // ------------------------------------------------------------ finding

  /** Slot in which the key is LIVE (its state in `#half`), or -1. Finishes a tentative one that it meets. */
  #find(hash: Uint32Array, now: number): number {
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      const slot = this.#search(hash, -1);
      if (slot < 0 || this.#phase() === LIVE || this.#confirm(slot, hash, now)) return slot;
    }
    return -1;
  }

  /** Like `#find`, but makes a slot when there is none; -1: try again, `NO_ROOM`: nothing free. */
  #findOrInsert(hash: Uint32Array, now: number): number {
    const found = this.#find(hash, now);
    if (found >= 0) return found;
    const slot = this.#freeSlot(hash, now);
    if (slot < 0) return NO_ROOM;
    const version = nextVersion(this.#version());
    const before = this.#state;
    const base = stateAt(slot);
    const mine = this.#pack(version, WRITING, now);
    if (Atomics.compareExchange(this.#words, base, before, mine) !== before) return -1;
    this.#writeKey(base + 1, version, hash[0] as number, hash[1] as number);
    this.#writeKey(base + 2, version, hash[2] as number, hash[3] as number);
    const tentative = this.#pack(version, TENTATIVE, now);
    if (Atomics.compareExchange(this.#words, base, mine, tentative) !== mine) return -1;
    return this.#confirm(slot, hash, now) ? slot : -1;
  }

  /** Writes a key word of a version unless a later version is there. */
  #writeKey(at: number, version: number, high: number, low: number): void {
    for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
      const before = Atomics.load(this.#words, at);
      this.#word[0] = before;
      const distance = (version - ((this.#half[1] as number) >>> 20)) & 0xfff;
      if (distance === 0 || distance > 0x7ff) return;
      this.#half[0] = low;
      this.#half[1] = ((version << 20) | (high & 0xfffff)) >>> 0;
      if (Atomics.compareExchange(this.#words, at, before, this.#word[0] as bigint) === before) return;
    }
  }

  /**
   * Makes a tentative slot LIVE unless the key has a better one. True: it is LIVE and its state is in `#half`.
   *
   * The state is read before the window is searched and compared afterwards, and the search sees every slot once: a twin that
   * it misses became tentative later, so whoever confirms that one sees this one.
   */
  #confirm(slot: number, hash: Uint32Array, now: number): boolean {
    if (!this.#owns(slot, hash)) return false;
    if (this.#phase() === LIVE) return true;
    const before = this.#state;
    const live = this.#pack(this.#version(), LIVE, Math.max(this.#time(), now));
    const twin = this.#search(hash, slot);
    if (twin >= 0) {
      // A LIVE twin stays, else the one met first on the way through the window.
      const twinStays = this.#phase() === LIVE || this.#distance(hash, twin) < this.#distance(hash, slot);
      this.#drop(twinStays ? slot : twin, hash);
      return false;
    }
    if (Atomics.compareExchange(this.#words, stateAt(slot), before, live) !== before) return false;
    this.#state = live;
    this.#word[0] = live;
    return true;
  }

  /** Frees a slot that is still tentative. */
  #drop(slot: number, hash: Uint32Array): void {
    if (!this.#owns(slot, hash) || this.#phase() !== TENTATIVE) return;
    const before = this.#state;
    Atomics.compareExchange(this.#words, stateAt(slot), before, this.#pack(this.#version(), EMPTY, 0));
  }

  /** First slot of the window, `except` apart, that the key has, tentative or LIVE; its state is in `#half`. -1: none. */
  #search(hash: Uint32Array, except: number): number {
    let slot = this.#home(hash);
    for (let step = 0; step < WINDOW_SLOTS; step++) {
      if (slot !== except) {
        if (this.#owns(slot, hash)) return slot;
        if (this.#isVirgin()) return -1;
      }
      slot = slot + 1 === this.#slots ? 0 : slot + 1;
    }
    return -1;
  }

  /** First slot of the window that may be taken: unused, idle, or (when there is none) left behind in the middle of a change. */
  #freeSlot(hash: Uint32Array, now: number): number {
    let slot = this.#home(hash);
    let unfinished = -1;
    for (let step = 0; step < WINDOW_SLOTS; step++) {
      this.#readState(slot);
      const phase = this.#phase();
      if (phase === EMPTY || (phase === LIVE && this.#time() <= now)) return slot;
      if (phase !== LIVE && unfinished < 0) unfinished = slot;
      slot = slot + 1 === this.#slots ? 0 : slot + 1;
    }
    if (unfinished >= 0) this.#readState(unfinished);
    return unfinished;
  }

  #home(hash: Uint32Array): number {
    return (((hash[0] as number) ^ (hash[2] as number)) >>> 0) % this.#slots;
  }

  #distance(hash: Uint32Array, slot: number): number {
    return (slot - this.#home(hash) + this.#slots) % this.#slots;
  }

  // ------------------------------------------------------------ words

  /** Does the slot belong to the key? Its state is in `#half` either way. */
  #owns(slot: number, hash: Uint32Array): boolean {
    const halves = this.#halves;
    const keyA = 2 * stateAt(slot) + 2;
    const keyB = keyA + 2;
    // High halves first: they have the version. A low half read afterwards is of that version or of a later one.
    const highA = Atomics.load(halves, keyA + 1);
    const version = highA >>> 20;
    const same =
      (highA & 0xfffff) === ((hash[0] as number) & 0xfffff) &&
      Atomics.load(halves, keyA) >>> 0 === hash[1] &&
      Atomics.load(halves, keyB + 1) === ((version << 20) | ((hash[2] as number) & 0xfffff)) &&
      Atomics.load(halves, keyB) >>> 0 === hash[3];
    // Read last: keys of this version are whole once a state of this version is beyond WRITING, and a later version of the
    // keys comes after a later one of the state.
    this.#readState(slot);
    return same && this.#version() === version && this.#phase() >= TENTATIVE;
  }

  #readState(slot: number): void {
    this.#state = Atomics.load(this.#words, stateAt(slot));
    this.#word[0] = this.#state;
  }
  #version(): number {
    return (this.#half[1] as number) >>> 20;
  }
  #phase(): number {
    return ((this.#half[1] as number) >>> 18) & 3;
  }
  #time(): number {
    return ((this.#half[1] as number) & 0x3ffff) * 0x1_0000_0000 + (this.#half[0] as number);
  }
  /** Never used: nothing of any key lies behind it, because a key takes the first free slot. */
  #isVirgin(): boolean {
    return this.#half[0] === 0 && this.#half[1] === 0;
  }

  #pack(version: number, phase: number, time: number): bigint {
    // By hand: the remainder of numbers that are no 32-bit integers is a call of the runtime's.
    const high = Math.floor(time / 0x1_0000_0000);
    this.#half[0] = time - high * 0x1_0000_0000;
    this.#half[1] = ((version << 20) | (phase << 18) | high) >>> 0;
    return this.#word[0] as bigint;
  }
}

const NO_ROOM = -2;
const stateAt = (slot: number): number => HEADER_WORDS + slot * SLOT_WORDS;
/** 0 stays what was never used. */
const nextVersion = (version: number): number => (version === 0xfff ? 1 : version + 1);

/** A random word that is not 0 (which means «not set»). */
function randomWord(): bigint {
  return getRandomValues(new BigInt64Array(1))[0] || 1n;
}
