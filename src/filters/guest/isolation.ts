import { KEEP_EXPORT, MEMORY_EXPORT, type MeterSwap, RESTORE_EXPORT } from "../meter/index.ts";
import { MemoryImage } from "./memory-image.ts";

/** One linear memory as it was. */
class KeptMemory {
  #bytes = new Uint8Array(0);
  #image = MemoryImage.of(new ArrayBuffer(0));

  constructor(readonly memory: WebAssembly.Memory) {}

  keep(): void {
    const { buffer } = this.memory;
    this.#bytes = new Uint8Array(buffer);
    this.#image = MemoryImage.of(buffer as ArrayBuffer);
  }

  /** False: it grew, and a memory never shrinks. */
  restore(): boolean {
    const { sizeBytes } = this.#image;
    if (this.#bytes.length !== sizeBytes) {
      // Growing by nothing detaches the buffer as well.
      if (this.memory.buffer.byteLength !== sizeBytes) return false;
      this.#bytes = new Uint8Array(this.memory.buffer);
    }
    this.#image.writeTo(this.#bytes);
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
