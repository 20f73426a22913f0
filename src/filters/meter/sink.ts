import type { Bytes } from "../../core/bytes.ts";

/** Runs of bytes up to this length are copied in a loop: cheaper than a view and a call. */
const LOOP_COPY_BYTES = 96;

/** One growing buffer of output. */
export class ByteSink {
  bytes: Uint8Array<ArrayBuffer>;
  length = 0;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(Math.max(64, capacity));
  }

  /** Makes room for `count` more bytes; the writers below do not check. */
  reserve(count: number): void {
    const needed = this.length + count;
    if (needed <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(needed, this.bytes.length + (this.bytes.length >> 1)));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
  }

  byte(value: number): void {
    this.bytes[this.length++] = value;
  }

  /** Unsigned LEB128. */
  u32(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.bytes[this.length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.length++] = rest;
  }

  /** Signed LEB128 of 32 bits. */
  s32(value: number): void {
    let rest = value | 0;
    for (;;) {
      const byte = rest & 0x7f;
      rest >>= 7;
      if ((rest === 0 && (byte & 0x40) === 0) || (rest === -1 && (byte & 0x40) !== 0)) {
        this.bytes[this.length++] = byte;
        return;
      }
      this.bytes[this.length++] = byte | 0x80;
    }
  }

  /** Writes `value` at `at` as a LEB128 of exactly `width` bytes: longer than needed is allowed up to five. */
  patchU32(at: number, value: number, width: number): void {
    let rest = value >>> 0;
    for (let i = 0; i < width - 1; i++) {
      this.bytes[at + i] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[at + width - 1] = rest;
  }

  copy(from: Bytes, start: number, end: number): void {
    const size = end - start;
    if (size > LOOP_COPY_BYTES) {
      this.bytes.set(from.subarray(start, end), this.length);
      this.length += size;
      return;
    }
    const { bytes } = this;
    let at = this.length;
    for (let i = start; i < end; i++) bytes[at++] = from[i] as number;
    this.length = at;
  }

  /** Opens a section: returns where its size goes. */
  openSection(id: number): number {
    this.reserve(6);
    this.byte(id);
    this.length += SIZE_WIDTH;
    return this.length - SIZE_WIDTH;
  }

  closeSection(sizeAt: number): void {
    this.patchU32(sizeAt, this.length - sizeAt - SIZE_WIDTH, SIZE_WIDTH);
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.bytes.slice(0, this.length);
  }
}

const SIZE_WIDTH = 5;
