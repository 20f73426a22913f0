import { type Bytes, utf8TextStrict } from "../../core/bytes.ts";
import { COMPONENT_LIMITS } from "../../core/limits.ts";

/** Reads a component's binary format. Everything that does not fit throws an `Error` that names the place. */
export class Reader {
  constructor(
    readonly bytes: Bytes,
    public at = 0,
    readonly end = bytes.byteLength,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  fail(problem: string): never {
    throw new Error(`not a component that can be read: ${problem} at byte ${this.at}`);
  }

  byte(): number {
    if (this.at >= this.end) this.fail("it ends too early");
    return this.bytes[this.at++] as number;
  }

  /** The next byte without taking it. */
  peek(): number {
    if (this.at >= this.end) this.fail("it ends too early");
    return this.bytes[this.at] as number;
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) !== 0) continue;
      if (value > 0xffff_ffff) break;
      return value;
    }
    return this.fail("a number is too large");
  }

  /** Length of a vector: every element takes a byte at least, so a length beyond the rest is a lie. */
  count(): number {
    const count = this.u32();
    if (count > this.end - this.at) this.fail("a list is longer than the rest");
    if (count > COMPONENT_LIMITS.definitions) this.fail(`a list has more than ${COMPONENT_LIMITS.definitions} items`);
    return count;
  }

  text(): string {
    const length = this.u32();
    if (length > COMPONENT_LIMITS.nameBytes) this.fail(`a name has more than ${COMPONENT_LIMITS.nameBytes} bytes`);
    return utf8TextStrict(this.take(length));
  }

  take(length: number): Bytes {
    if (length > this.end - this.at) this.fail("it ends too early");
    const taken = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return taken;
  }

  /** Takes a byte that must be this one. */
  expect(byte: number, what: string): void {
    if (this.byte() !== byte) this.fail(`unknown ${what}`);
  }
}
