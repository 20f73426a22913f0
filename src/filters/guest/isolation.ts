import { ISOLATION_LIMITS } from "../../core/limits.ts";
import { KEEP_EXPORT, MEMORY_EXPORT, type MeterSwap, RESTORE_EXPORT } from "../meter/index.ts";
import { MemoryImage } from "./memory-image.ts";

/** One linear memory as it was. */
class KeptMemory {
  #bytes = new Uint8Array(0);
  #image = MemoryImage.of(new ArrayBuffer(0));

  constructor(readonly memory: WebAssembly.Memory) {}

  get keptBytes(): number {
    return this.#image.keptBytes;
  }

  /** Nothing is copied where nothing was written. */
  keep(): void {
    const { buffer } = this.memory;
    if (this.#image.matches(buffer as ArrayBuffer)) return;
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
  #isDue = false;

  /** `payer`: the filter, whose share of CPU pays for it. */
  constructor(
    readonly payer: { fuelUsed: number },
    ...others: Restorable[]
  ) {
    this.#others = others;
  }

  /** What it holds of memories. */
  get keptBytes(): number {
    return this.#parts.reduce((bytes, { memory }) => bytes + (memory?.keptBytes ?? 0), 0);
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
    this.#isDue = false;
    for (const { memory, keep } of this.#parts) {
      keep(0);
      memory?.keep();
      this.#pay(memory);
    }
    for (const other of this.#others) other.keep();
  }

  /** The same, but only when `settle` says that it matters: until then more may come that is to be kept. */
  keepLater(): void {
    this.#isDue = true;
  }

  /** Before something runs in it that is not to stay. */
  settle(): void {
    if (this.#isDue) this.keep();
  }

  /** Puts it back; a text: why that cannot be done. Not while it runs. */
  restore(): string | undefined {
    for (const { memory, restore } of this.#parts) {
      if (restore(0) !== 0) return "it wrote a table or dropped a segment";
      if (memory?.restore() === false) return "its memory grew";
      this.#pay(memory);
    }
    for (const other of this.#others) other.restore();
    return undefined;
  }

  /** Work that no instruction of the guest's pays for. */
  #pay(memory: KeptMemory | undefined): void {
    if (memory === undefined) return;
    const { cachedBytes, bytesPerFuel } = ISOLATION_LIMITS;
    const bytes = memory.memory.buffer.byteLength;
    this.payer.fuelUsed += bytes <= cachedBytes ? bytes / bytesPerFuel : cachedBytes / bytesPerFuel + bytes - cachedBytes;
  }
}

/** What isolation has to know of an instance's module. */
interface IsolationOwner {
  fuelUsed: number;
  readonly config: { readonly isolated: boolean };
  /** What it was granted to share: that is not put back. */
  readonly namespace: Restorable;
}

/** Of a filter that is not isolated there is none. `namespace`: the instance's. */
export function newIsolation(owner: IsolationOwner, namespace: Restorable, ...others: Restorable[]): Isolation | undefined {
  if (!owner.config.isolated) return undefined;
  return namespace === owner.namespace ? new Isolation(owner, ...others) : new Isolation(owner, namespace, ...others);
}
