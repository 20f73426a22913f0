import type { Bytes } from "../core/bytes.ts";

const CHUNK_BYTES = 16 * 1024;

interface Chunk {
  readonly bytes: Bytes;
  /** `[start, end)` is still to go out. */
  start: number;
  end: number;
}

/** Copies of what the kernel did not take yet, in order. Small writes share a chunk. */
export class PendingBytes {
  readonly #chunks: Chunk[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(bytes: Bytes, start: number, end: number): void {
    let at = start;
    const last = this.#chunks[this.#chunks.length - 1];
    if (last !== undefined) {
      const room = Math.min(last.bytes.byteLength - last.end, end - at);
      if (room > 0) {
        last.bytes.set(bytes.subarray(at, at + room), last.end);
        last.end += room;
        at += room;
      }
    }
    if (at < end) {
      const copy = new Uint8Array(Math.max(CHUNK_BYTES, end - at));
      copy.set(bytes.subarray(at, end));
      this.#chunks.push({ bytes: copy, start: 0, end: end - at });
    }
    this.#size += end - start;
  }

  /**
   * Offers chunk after chunk to `write(bytes, offset, length)`, which answers how many it took (negative: none, ever).
   * Returns true when nothing is left.
   */
  flush(native: { write(bytes: Bytes, offset: number, length: number): number }): boolean {
    let done = 0;
    for (const chunk of this.#chunks) {
      const length = chunk.end - chunk.start;
      const taken = native.write(chunk.bytes, chunk.start, length);
      if (taken < 0) {
        this.clear();
        return true;
      }
      chunk.start += taken;
      this.#size -= taken;
      if (taken < length) break;
      done++;
    }
    if (done > 0) this.#chunks.splice(0, done);
    return this.#chunks.length === 0;
  }

  /** Takes everything out as it is: for tests and for handing over to another writer. */
  drainTo(take: (bytes: Bytes) => void): void {
    for (const chunk of this.#chunks) take(chunk.bytes.subarray(chunk.start, chunk.end));
    this.clear();
  }

  clear(): void {
    this.#chunks.length = 0;
    this.#size = 0;
  }
}
