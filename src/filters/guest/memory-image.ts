import { Buffer } from "node:buffer";

/** A stretch of this size is either all zero or copied. */
const STRETCH_BYTES = 4096;
const ZEROS = Buffer.alloc(STRETCH_BYTES);

/** Part of a memory: what stood there; undefined: zeros. */
interface Stretch {
  readonly from: number;
  to: number;
  content: Uint8Array | undefined;
}

/** What stood in a linear memory. Most of what guests have is zero: that is not kept, and writing it costs half of what copying does. */
export class MemoryImage {
  private constructor(
    readonly sizeBytes: number,
    readonly stretches: readonly Stretch[],
    /** What it takes. */
    readonly keptBytes: number,
  ) {}

  static of(buffer: ArrayBuffer): MemoryImage {
    const { byteLength } = buffer;
    const bytes = Buffer.from(buffer);
    const stretches: (Stretch & { isZero: boolean })[] = [];
    for (let at = 0; at < byteLength; at += STRETCH_BYTES) {
      const isZero = ZEROS.compare(bytes, at, at + STRETCH_BYTES) === 0;
      const last = stretches.at(-1);
      if (last?.isZero === isZero) last.to = at + STRETCH_BYTES;
      else stretches.push({ from: at, to: at + STRETCH_BYTES, content: undefined, isZero });
    }
    let keptBytes = 0;
    for (const stretch of stretches) {
      if (stretch.isZero) continue;
      stretch.content = new Uint8Array(buffer).slice(stretch.from, stretch.to);
      keptBytes += stretch.content.byteLength;
    }
    return new MemoryImage(byteLength, stretches, keptBytes);
  }

  /** Does it stand there still? */
  matches(buffer: ArrayBuffer): boolean {
    if (buffer.byteLength !== this.sizeBytes) return false;
    const bytes = Buffer.from(buffer);
    return this.stretches.every(({ from, to, content }) => {
      if (content !== undefined) return bytes.compare(content, 0, to - from, from, to) === 0;
      for (let at = from; at < to; at += STRETCH_BYTES) if (ZEROS.compare(bytes, at, at + STRETCH_BYTES) !== 0) return false;
      return true;
    });
  }

  /** Over a memory of the same size. `zeroFrom`: what lies behind is zero already, and stays untouched where it is to be. */
  writeTo(bytes: Uint8Array, zeroFrom = bytes.length): void {
    for (const { from, to, content } of this.stretches) {
      if (content !== undefined) bytes.set(content, from);
      else if (from < zeroFrom) bytes.fill(0, from, Math.min(to, zeroFrom));
    }
  }
}
