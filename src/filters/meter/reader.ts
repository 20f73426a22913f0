import { type Bytes, utf8TextStrict } from "../../core/bytes.ts";
import { malformed } from "./error.ts";

/** Reads the numbers and names of the binary format, strictly, and never beyond `end`. Throws `MeterError`. */
export class ByteReader {
  constructor(
    readonly bytes: Bytes,
    public at: number,
    readonly end: number,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw malformed("the module ends too early");
    return this.bytes[this.at++] as number;
  }

  /** Unsigned LEB128 of 32 bits: at most five bytes, no bit too many. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    const last = this.byte();
    if (last > 0x0f) throw malformed("the module has a number that is too large");
    return (value >>> 0) + last * 0x1000_0000;
  }

  /** Passes over a LEB128 of at most `bytesMax` bytes. */
  skipNumber(bytesMax: number): void {
    for (let i = 0; i < bytesMax; i++) {
      if (this.byte() < 0x80) return;
    }
    throw malformed("the module has a number that is too large");
  }

  skip(count: number): void {
    if (count > this.end - this.at) throw malformed("the module ends too early");
    this.at += count;
  }

  /** A vector's length. Every item takes a byte at least, so a larger one is a lie. */
  count(): number {
    const count = this.u32();
    if (count > this.end - this.at) throw malformed("the module has a list that is longer than its section");
    return count;
  }

  name(): string {
    const start = this.at;
    const size = this.u32();
    const from = this.at;
    this.skip(size);
    try {
      return utf8TextStrict(this.bytes.subarray(from, from + size));
    } catch {
      throw malformed(`the module has a name that is not UTF-8 at byte ${start}`);
    }
  }

  finish(what: string): void {
    if (this.at !== this.end) throw malformed(`${what} has bytes behind its end`);
  }
}
