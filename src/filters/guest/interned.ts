const SLOTS = 512;
const KEY_BYTES_MAX = 64;

interface Entry<T> {
  /** The key four bytes at a time; the last four may overlap those before. */
  readonly words: Int32Array;
  readonly length: number;
  readonly value: T;
}

/**
 * What short keys of guests stand for (a field name, a property path), found by their bytes without making a string: guests
 * ask for the same few again and again, and decoding costs three times as much as comparing. Bounded: one entry a slot, the
 * newer one wins.
 */
export class InternTable<T> {
  readonly #entries = new Array<Entry<T> | undefined>(SLOTS).fill(undefined);

  constructor(readonly make: (text: string) => T) {}

  /** For `[start, start + length)` of a memory given as a view and as bytes; it must be inside. */
  find(view: DataView, bytes: Buffer, start: number, length: number): T {
    if (length > KEY_BYTES_MAX || length < 4) return this.make(bytes.latin1Slice(start, start + length));
    // Both ends tell the keys of the ABI apart; a collision costs time only.
    const first = view.getInt32(start, true);
    const last = view.getInt32(start + length - 4, true);
    const mixed = Math.imul(Math.imul(first, 31) + last + length, 0x9e3779b1);
    const slot = mixed >>> 23;
    const entry = this.#entries[slot];
    if (entry !== undefined && entry.length === length && isSame(entry.words, view, start, length)) return entry.value;
    const value = this.make(bytes.latin1Slice(start, start + length));
    this.#entries[slot] = { words: wordsOf(view, start, length), length, value };
    return value;
  }
}

function wordsOf(view: DataView, start: number, length: number): Int32Array {
  const words = new Int32Array(Math.ceil(length / 4));
  const last = words.length - 1;
  for (let i = 0; i < last; i++) words[i] = view.getInt32(start + 4 * i, true);
  words[last] = view.getInt32(start + length - 4, true);
  return words;
}

function isSame(words: Int32Array, view: DataView, start: number, length: number): boolean {
  const last = words.length - 1;
  for (let i = 0; i < last; i++) if (words[i] !== view.getInt32(start + 4 * i, true)) return false;
  return words[last] === view.getInt32(start + length - 4, true);
}
