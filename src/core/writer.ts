import type { Bytes } from "./bytes.ts";

const INITIAL_BYTES = 16 * 1024;
/** Texts up to this many characters are copied in a loop; longer ones are cheaper with native help. */
const LOOP_MAX = 12;
const IS_LITTLE_ENDIAN = new Uint8Array(Int32Array.of(1).buffer)[0] === 1;
/** Bytes of a larger array up to this many are copied in a loop: a view of them would cost more. */
const COPY_MAX = 512;
/** Bytes that one UTF-16 unit may take in UTF-8. */
const UTF8_BYTES_MAX = 3;

/** Constant bytes, in words of four, ready to be appended: four times as fast as a short text. */
export class Literal {
  readonly words: Int32Array;
  readonly length: number;

  /** One byte per character. */
  constructor(text: string) {
    this.length = text.length;
    const padded = new Uint8Array((text.length + 3) & ~3);
    for (let i = 0; i < text.length; i++) padded[i] = text.charCodeAt(i);
    this.words = new Int32Array(padded.buffer);
  }
}

/**
 * A growing output buffer that is filled and handed to one `Socket.write`. Codecs append to it; connections own or share it.
 * Written out within a turn, so one per process is enough for all connections that copy on write.
 */
export class ByteWriter {
  buffer: Buffer;
  #view: DataView;
  length = 0;

  constructor(initialBytes = INITIAL_BYTES) {
    this.buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.#view = new DataView(this.buffer.buffer);
  }

  /** Makes room for `bytes` more. */
  reserve(bytes: number): void {
    const needed = this.length + bytes;
    if (needed <= this.buffer.length) return;
    let size = this.buffer.length * 2;
    while (size < needed) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    this.buffer.copy(grown, 0, 0, this.length);
    this.#use(grown);
  }

  #use(buffer: Buffer): void {
    this.buffer = buffer;
    this.#view = new DataView(buffer.buffer);
  }

  literal({ words, length }: Literal): void {
    // The last word may reach beyond the literal.
    this.reserve(length + 3);
    const view = this.#view;
    let at = this.length;
    for (let i = 0; i < words.length; i++) {
      view.setInt32(at, words[i] as number, IS_LITTLE_ENDIAN);
      at += 4;
    }
    this.length += length;
  }

  /** Appends wire text: one byte per character. */
  latin1(text: string): void {
    this.reserve(text.length);
    this.length += this.buffer.latin1Write(text, this.length);
  }

  /** The same for a text that may be short: then no call of the runtime is worth it. */
  text(text: string): void {
    if (text.length > LOOP_MAX) {
      this.latin1(text);
      return;
    }
    this.reserve(text.length);
    const { buffer } = this;
    let { length } = this;
    for (let i = 0; i < text.length; i++) buffer[length++] = text.charCodeAt(i);
    this.length = length;
  }

  utf8(text: string): void {
    this.reserve(text.length * UTF8_BYTES_MAX);
    this.length += this.buffer.write(text, this.length);
  }

  /** Appends `bytes[start, end)`. */
  bytes(bytes: Bytes, start = 0, end = bytes.byteLength): void {
    const count = end - start;
    this.reserve(count);
    const { buffer, length } = this;
    if (count === bytes.byteLength) buffer.set(bytes, length);
    else if (count > COPY_MAX) buffer.set(bytes.subarray(start, end), length);
    else for (let i = 0; i < count; i++) buffer[length + i] = bytes[start + i] as number;
    this.length = length + count;
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
    if (this.buffer.length > 64 * INITIAL_BYTES) this.#use(Buffer.allocUnsafeSlow(INITIAL_BYTES));
  }
}
