/** Words in front of a record's text: parent, length of the text, three values. */
export const HEADER = 5;
/** Where the values are. */
export const FIRST = 2;
export const SECOND = 3;
export const THIRD = 4;

/** FNV-1a, one step a character. */
const PRIME = 0x01000193;

/** The hash of the empty text below a parent. */
export function seedOf(parent: number): number {
  return Math.imul(parent + 1, 0x9e3779b1) ^ 0x811c9dc5;
}

/** One character more. */
export function roll(hash: number, code: number): number {
  return Math.imul(hash ^ code, PRIME);
}

/** All characters of a text. */
export function hashText(seed: number, text: string): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = roll(hash, text.charCodeAt(i));
  return hash;
}

const spread = (hash: number): number => hash ^ (hash >>> 15);

/**
 * A map from (parent, text) to a record of a few integers, laid out in two typed arrays. With ten thousand routes a match costs
 * what it touches in memory, not what it computes: a map of strings follows many pointers from the question to the value, this
 * reads a slot and a record. Records name each other by offset, so a table is copied by copying bytes.
 *
 * Texts are one byte a character, like everything in a request head. Hashes are unkeyed: only configuration decides what is in
 * the table, so a request that collides costs one comparison.
 */
export class EdgeTable {
  /** Open addressing, a power of two, at most two thirds full: offset of a record in the low bits, tag (bits of the hash) above. 0: free. */
  slots = new Int32Array(16);
  /** Records, one behind the other: parent, length of the text, values, then the text. The first word is not used. */
  words: Int32Array = new Int32Array(256);
  /** The same memory as `words`. */
  bytes = new Uint8Array(this.words.buffer);
  /** The bits of a slot that are the record's offset. */
  offsetMask = this.words.length - 1;
  #used = 1;
  #count = 0;

  /** The same content, to be changed without harm to this one. */
  copy(): EdgeTable {
    const twin = new EdgeTable();
    twin.slots = this.slots.slice();
    twin.#setWords(this.words.slice());
    twin.#used = this.#used;
    twin.#count = this.#count;
    return twin;
  }

  /** The record's offset, or 0 when there is none. `hash`: `hashText` from `seedOf(parent)` over `text[from, to)`. */
  find(parent: number, hash: number, text: string, from: number, to: number): number {
    const { slots, words, bytes, offsetMask } = this;
    const mask = slots.length - 1;
    const length = to - from;
    const tag = hash & ~offsetMask;
    for (let at = spread(hash) & mask; ; at = (at + 1) & mask) {
      const slot = slots[at] as number;
      if (slot === 0) return 0;
      if ((slot & ~offsetMask) !== tag) continue;
      const record = slot & offsetMask;
      if (words[record] !== parent || words[record + 1] !== length) continue;
      const start = (record + HEADER) * 4 - from;
      let i = from;
      while (i < to && bytes[start + i] === text.charCodeAt(i)) i++;
      if (i === to) return record;
    }
  }

  /** The record of a text, made when it is not there yet. Throws a `RangeError` for a character above 0xff. */
  add(parent: number, text: string): number {
    const hash = hashText(seedOf(parent), text);
    const known = this.find(parent, hash, text, 0, text.length);
    if (known !== 0) return known;
    const record = this.addBare(parent, text);
    if (++this.#count * 3 > this.slots.length * 2) this.#index(this.#records(), this.slots.length * 2);
    this.#occupy(record, hash);
    return record;
  }

  /** A record that nobody finds by its text. */
  addBare(parent: number, text: string): number {
    const record = this.#used;
    const end = record + HEADER + ((text.length + 3) >> 2);
    if (end > this.words.length) this.#grow(end);
    this.words[record] = parent;
    this.words[record + 1] = text.length;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0xff) throw new RangeError(`"${text}" is no text of bytes`);
      this.bytes[(record + HEADER) * 4 + i] = code;
    }
    this.#used = end;
    return record;
  }

  /** Tags depend on the size: all slots are made anew. */
  #grow(needed: number): void {
    const records = this.#records();
    let size = this.words.length;
    while (size < needed) size *= 2;
    const grown = new Int32Array(size);
    grown.set(this.words);
    this.#setWords(grown);
    this.#index(records, this.slots.length);
  }

  #setWords(words: Int32Array): void {
    this.words = words;
    this.bytes = new Uint8Array(words.buffer);
    this.offsetMask = words.length - 1;
  }

  /** Offsets of the records that are found by text. */
  #records(): Int32Array {
    return this.slots.filter((slot) => slot !== 0).map((slot) => slot & this.offsetMask);
  }

  #index(records: Int32Array, size: number): void {
    this.slots = new Int32Array(size);
    for (const record of records) {
      const { words, bytes } = this;
      let hash = seedOf(words[record] as number);
      const start = (record + HEADER) * 4;
      const end = start + (words[record + 1] as number);
      for (let i = start; i < end; i++) hash = roll(hash, bytes[i] as number);
      this.#occupy(record, hash);
    }
  }

  #occupy(record: number, hash: number): void {
    const { slots } = this;
    const mask = slots.length - 1;
    let at = spread(hash) & mask;
    while (slots[at] !== 0) at = (at + 1) & mask;
    slots[at] = (hash & ~this.offsetMask) | record;
  }
}
