import { Buffer } from "node:buffer";
import type { Bytes } from "../../core/bytes.ts";

/** The linear memory that a lifted or lowered function uses. Views are made anew when the memory has grown (growing detaches them). */
export class LinearMemory {
  bytes: Buffer;
  words: DataView;

  constructor(readonly memory: WebAssembly.Memory) {
    this.bytes = Buffer.from(memory.buffer as ArrayBuffer, 0, memory.buffer.byteLength);
    this.words = new DataView(memory.buffer);
  }

  /** After every call into the guest, and at the start of every call from it. */
  refresh(): void {
    if (this.bytes.length > 0) return;
    const { buffer } = this.memory;
    this.bytes = Buffer.from(buffer as ArrayBuffer, 0, buffer.byteLength);
    this.words = new DataView(buffer);
  }

  get sizeBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** Throws a `Trap` unless `[at, at + length)` is inside and `at` is aligned. */
  check(at: number, length: number, align: number): void {
    if (at + length > this.bytes.length) throw new Trap("a pointer beyond the memory");
    if (at % align !== 0) throw new Trap("a pointer that is not aligned");
  }

  copy(at: number, length: number): Bytes {
    return Uint8Array.prototype.slice.call(this.bytes, at, at + length);
  }
}

/** The guest broke a rule of the canonical ABI: its instance is not entered again. */
export class Trap extends Error {}
