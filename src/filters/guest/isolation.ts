import { Buffer } from "node:buffer";
import { KEEP_EXPORT, MEMORY_EXPORT, type MeterSwap, RESTORE_EXPORT } from "../meter/index.ts";

/** A stretch of this size is either all zero or copied. */
const STRETCH_BYTES = 4096;
const ZEROS = Buffer.alloc(STRETCH_BYTES);

/** Part of a memory: what stood there; undefined: zeros. */
interface Stretch {
  readonly from: number;
  to: number;
  content: Uint8Array | undefined;
}

/** One linear memory as it was. Most of what guests have is zero, and writing zeros costs half of what copying does. */
class KeptMemory {
  #bytes = new Uint8Array(0);
  #size = 0;
  #stretches: Stretch[] = [];

  constructor(readonly memory: WebAssembly.Memory) {}

  keep(): void {
    const { buffer } = this.memory;
    this.#bytes = new Uint8Array(buffer);
    this.#size = buffer.byteLength;
    const bytes = Buffer.from(buffer as ArrayBuffer);
    const stretches: (Stretch & { isZero: boolean })[] = [];
    for (let at = 0; at < this.#size; at += STRETCH_BYTES) {
      const isZero = ZEROS.compare(bytes, at, at + STRETCH_BYTES) === 0;
      const last = stretches.at(-1);
      if (last?.isZero === isZero) last.to = at + STRETCH_BYTES;
      else stretches.push({ from: at, to: at + STRETCH_BYTES, content: undefined, isZero });
    }
    for (const stretch of stretches) if (!stretch.isZero) stretch.content = this.#bytes.slice(stretch.from, stretch.to);
    this.#stretches = stretches;
  }

  /** False: it grew, and a memory never shrinks. */
  restore(): boolean {
    if (this.#bytes.length !== this.#size) {
      // Growing by nothing detaches the buffer as well.
      if (this.memory.buffer.byteLength !== this.#size) return false;
      this.#bytes = new Uint8Array(this.memory.buffer);
    }
    for (const { from, to, content } of this.#stretches) {
      if (content === undefined) this.#bytes.fill(0, from, to);
      else this.#bytes.set(content, from);
    }
    return true;
  }
}

/** A core instance that was metered with `keeps`. */
interface Part {
  readonly memory: KeptMemory | undefined;
  readonly keep: MeterSwap;
  readonly restore: MeterSwap;
}

/** State of the host's that belongs to one instance. */
export interface Restorable {
  keep(): void;
  restore(): void;
}

/**
 * What an isolated instance is put back to when an exchange ends: memories, globals, and what the host knows of it. A table that was
 * written, a segment that was dropped and a memory that grew cannot be put back: such an instance is thrown away.
 */
export class Isolation {
  readonly #parts: Part[] = [];
  readonly #others: Restorable[];

  constructor(...others: Restorable[]) {
    this.#others = others;
  }

  /** A core instance of it, by all that it exports. */
  add(exports: WebAssembly.Exports): void {
    const memory = exports[MEMORY_EXPORT];
    this.#parts.push({
      memory: memory === undefined ? undefined : new KeptMemory(memory as WebAssembly.Memory),
      keep: exports[KEEP_EXPORT] as MeterSwap,
      restore: exports[RESTORE_EXPORT] as MeterSwap,
    });
  }

  /** From now on it is put back to what it is now. Not while it runs. */
  keep(): void {
    for (const { memory, keep } of this.#parts) {
      keep(0);
      memory?.keep();
    }
    for (const other of this.#others) other.keep();
  }

  /** Puts it back; a text: why that cannot be done. Not while it runs. */
  restore(): string | undefined {
    for (const { memory, restore } of this.#parts) {
      if (restore(0) !== 0) return "it wrote a table or dropped a segment";
      if (memory?.restore() === false) return "its memory grew";
    }
    for (const other of this.#others) other.restore();
    return undefined;
  }
}

/** What isolation has to know of an instance's module. */
interface IsolationOwner {
  readonly config: { readonly isolated: boolean };
  /** What it was granted to share: that is not put back. */
  readonly namespace: Restorable;
}

/** Of a filter that is not isolated there is none. `namespace`: the instance's. */
export function newIsolation(owner: IsolationOwner, namespace: Restorable, ...others: Restorable[]): Isolation | undefined {
  if (!owner.config.isolated) return undefined;
  return namespace === owner.namespace ? new Isolation(...others) : new Isolation(namespace, ...others);
}
