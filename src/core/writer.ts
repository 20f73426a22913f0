import type { Bytes } from "./bytes.ts";

const INITIAL_BYTES = 16 * 1024;

/**
 * A growing output buffer that is filled and handed to one `Socket.write`. Codecs append to it; connections own or share it.
 * Written out within a turn, so one per process is enough for all connections that copy on write.
 */
export class ByteWriter {
  buffer: Buffer;
  length = 0;

  constructor(initialBytes = INITIAL_BYTES) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    let size = this.buffer.length * 2;
    while (size < needed) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(grown, 0, 0, this.length);
    this.buffer = grown;
  }

  /** Appends wire text: one byte per character. */
  latin1(text: string): void {
    this.reserve(text.length);
    this.length += this.buffer.latin1Write(text, this.length);
  }

  bytes(bytes: Bytes): void {
    this.reserve(bytes.byteLength);
    this.buffer.set(bytes, this.length);
    this.length += bytes.byteLength;
  }

  byte(value: number): void {
    this.reserve(1);
    this.buffer[this.length++] = value;
  }

  /** What was written, as a view that the next write invalidates. */
  view(): Bytes {
    return this.buffer.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
    // One huge body must not pin its memory for good.
    if (this.buffer.length > 64 * INITIAL_BYTES) this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  }
}
