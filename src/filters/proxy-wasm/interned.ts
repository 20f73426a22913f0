import type { Bytes } from "../../core/bytes.ts";

const SLOTS = 512;
const KEY_BYTES_MAX = 64;

/**
 * What short keys of guests stand for (a field name, a property path), found by their bytes without making a string: guests
 * ask for the same few again and again, and decoding costs three times as much as comparing. Bounded: one entry a slot, the
 * newer one wins.
 */
export class InternTable<T> {
  readonly #keys = new Array<Bytes | undefined>(SLOTS).fill(undefined);
  readonly #values = new Array<T | undefined>(SLOTS).fill(undefined);

  constructor(readonly make: (text: string) => T) {}

  /** For `bytes[start, start + length)`, which must be inside. */
  find(bytes: Buffer, start: number, length: number): T {
    if (length > KEY_BYTES_MAX) return this.make(bytes.latin1Slice(start, start + length));
    let hash = length;
    for (let i = start; i < start + length; i++) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0;
    const slot = hash & (SLOTS - 1);
    const key = this.#keys[slot];
    const value = this.#values[slot];
    if (key !== undefined && value !== undefined && isSame(key, bytes, start, length)) return value;
    const made = this.make(bytes.latin1Slice(start, start + length));
    this.#keys[slot] = Uint8Array.prototype.slice.call(bytes, start, start + length);
    this.#values[slot] = made;
    return made;
  }
}

function isSame(key: Bytes, bytes: Buffer, start: number, length: number): boolean {
  if (key.length !== length) return false;
  for (let i = 0; i < length; i++) if (key[i] !== bytes[start + i]) return false;
  return true;
}
