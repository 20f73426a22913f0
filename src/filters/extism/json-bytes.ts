import { Buffer } from "node:buffer";
import { type Bytes, utf8Bytes } from "../../core/bytes.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Writes JSON as bytes, the same that `JSON.stringify` and an encoder make of it, without a text or objects in between. Used
 * again and again: it grows to the largest that it ever wrote.
 */
export class JsonBytes {
  #bytes = Buffer.allocUnsafe(1_024);
  #length = 0;

  clear(): void {
    this.#length = 0;
  }

  /** A view, valid until the next call of any method. */
  view(): Bytes {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Punctuation, names and numbers: ASCII, written as it is. */
  raw(text: string): void {
    const bytes = this.#room(text.length);
    let at = this.#length;
    for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
    this.#length = at;
  }

  /** A text in quotes. */
  text(text: string): void {
    const bytes = this.#room(text.length + 2);
    let at = this.#length;
    bytes[at++] = QUOTE;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code < 0x20 || code > 0x7f || code === QUOTE || code === BACKSLASH) {
        this.#append(utf8Bytes(JSON.stringify(text)));
        return;
      }
      bytes[at++] = code;
    }
    bytes[at++] = QUOTE;
    this.#length = at;
  }

  #append(encoded: Bytes): void {
    this.#room(encoded.byteLength).set(encoded, this.#length);
    this.#length += encoded.byteLength;
  }

  #room(count: number): Buffer {
    const needed = this.#length + count;
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2));
      larger.set(this.view());
      this.#bytes = larger;
    }
    return this.#bytes;
  }
}
