import { type Bytes, utf8TextStrict } from "../../core/bytes.ts";

/** Reads the binary format of WebAssembly (specification, "Binary Format"): bounded, every error an `Error` with the offset. */
export class WasmReader {
  constructor(
    readonly bytes: Bytes,
    public at = 0,
    readonly end = bytes.byteLength,
  ) {}

  get done(): boolean {
    return this.at >= this.end;
  }

  byte(): number {
    if (this.at >= this.end) throw this.fault("it ends too early");
    return this.bytes[this.at++] as number;
  }

  /** Unsigned LEB128 of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw this.fault("a number is too large");
  }

  /** Unsigned LEB128 of at most 64 bits, for sizes of 64-bit memories. */
  u64(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value += BigInt(byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
    throw this.fault("a number is too large");
  }

  take(length: number): Bytes {
    if (this.at + length > this.end) throw this.fault("a part is longer than what is left");
    const part = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return part;
  }

  name(): string {
    const part = this.take(this.u32());
    try {
      return utf8TextStrict(part);
    } catch {
      throw this.fault("a name is not UTF-8");
    }
  }

  /** The next `length` bytes as a reader of their own; this one goes on behind them. */
  part(length: number): WasmReader {
    const start = this.at;
    this.take(length);
    return new WasmReader(this.bytes, start, start + length);
  }

  fault(what: string): Error {
    return new Error(`${what} (offset ${this.at})`);
  }
}
