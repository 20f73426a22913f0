import { type Bytes, EMPTY_BYTES } from "../core/bytes.ts";
import type { BodyBuffer } from "./contract.ts";

const FIRST_BYTES = 4096;

/**
 * The body bytes at one filter. Usually they are a borrowed view of the chunk that passes; they are copied only when the
 * filter pauses or changes them, because the source reuses its buffer and must not see our changes.
 */
export class StageBody implements BodyBuffer {
  /** Most bytes held here. A chunk that only passes may be larger. */
  limitBytes = 0;
  length = 0;
  /** By how much the filter made the whole message longer so far (negative: shorter). */
  grownBytes = 0;
  #bytes: Bytes = EMPTY_BYTES;
  #owned = false;

  /** Shows a chunk to the filter without copying it. */
  borrow(bytes: Bytes): void {
    this.#bytes = bytes;
    this.#owned = false;
    this.length = bytes.byteLength;
  }

  /** Keeps what is shown beyond the call. False: more than the limit. */
  keep(): boolean {
    if (this.length > this.limitBytes) return false;
    if (!this.#owned && this.length > 0) this.#grow(this.length);
    return true;
  }

  /** Adds a copy of `bytes` behind what is kept. False: more than the limit; then nothing was added. */
  append(bytes: Bytes): boolean {
    const total = this.length + bytes.byteLength;
    if (total > this.limitBytes) return false;
    if (bytes.byteLength === 0) return true;
    if (!this.#owned || total > this.#bytes.byteLength) this.#grow(total);
    this.#bytes.set(bytes, this.length);
    this.length = total;
    return true;
  }

  /** Hands over what is here and is empty again. */
  take(): Bytes {
    const taken = this.#bytes.byteLength === this.length ? this.#bytes : this.#bytes.subarray(0, this.length);
    this.clear();
    return taken;
  }

  clear(): void {
    this.#bytes = EMPTY_BYTES;
    this.#owned = false;
    this.length = 0;
  }

  read(start: number, length: number): Bytes {
    const from = Math.min(start, this.length);
    return this.#bytes.subarray(from, Math.min(from + length, this.length));
  }

  replace(start: number, length: number, bytes: Bytes): boolean {
    const from = Math.min(start, this.length);
    const cut = Math.min(length, this.length - from);
    const total = this.length - cut + bytes.byteLength;
    if (total > this.length && total > this.limitBytes) return false;
    if (cut === 0 && bytes.byteLength === 0) return true;
    if (this.#isInPlace(from, cut, bytes.byteLength)) {
      if (total > this.#bytes.byteLength) this.#grow(total);
      this.#bytes.set(bytes, from);
      this.grownBytes += total - this.length;
      this.length = total;
      return true;
    }
    const next = new Uint8Array(total);
    next.set(this.#bytes.subarray(0, from), 0);
    next.set(bytes, from);
    next.set(this.#bytes.subarray(from + cut, this.length), from + bytes.byteLength);
    this.#bytes = next;
    this.#owned = true;
    this.grownBytes += total - this.length;
    this.length = total;
    return true;
  }

  moves(start: number, length: number, size: number): number {
    const from = Math.min(start, this.length);
    const cut = Math.min(length, this.length - from);
    if (this.#isInPlace(from, cut, size) || (cut === 0 && size === 0)) return size;
    return this.length - cut + size;
  }

  /** What is here stays where it is: as many bytes take the place of others, or more come behind all. Not what is only borrowed. */
  #isInPlace(from: number, cut: number, size: number): boolean {
    return this.#owned && (cut === size || (cut < size && from + cut === this.length));
  }

  /** Own storage for `bytes` at least, with what is here. Doubles, so that many small chunks cost linear time. */
  #grow(bytes: number): void {
    let size = Math.max(FIRST_BYTES, this.#owned ? this.#bytes.byteLength * 2 : 0);
    while (size < bytes) size *= 2;
    const grown = new Uint8Array(Math.max(bytes, Math.min(size, this.limitBytes)));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
    this.#owned = true;
  }
}
