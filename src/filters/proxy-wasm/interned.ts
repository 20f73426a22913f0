import type { Bytes } from "../../core/bytes.ts";

const SLOTS = 512;
const KEY_BYTES_MAX = 64;

interface Entry<T> {
  readonly key: DataView;
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
    if (entry !== undefined && entry.length === length && isSame(entry.key, view, start, length)) return entry.value;
    const value = this.make(bytes.latin1Slice(start, start + length));
    const key: Bytes = new Uint8Array(bytes.subarray(start, start + length));
    this.#entries[slot] = { key: new DataView(key.buffer), length, value };
    return value;
  }
}

/** Four bytes at a time; the last four may overlap those before. */
function isSame(key: DataView, view: DataView, start: number, length: number): boolean {
  const tail = length - 4;
  for (let i = 0; i < tail; i += 4) if (key.getInt32(i, true) !== view.getInt32(start + i, true)) return false;
  return key.getInt32(tail, true) === view.getInt32(start + tail, true);
}
