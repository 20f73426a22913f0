import { type Bytes, EMPTY_BYTES, utf8Text, writeLatin1 } from "../../core/bytes.ts";
import { FILTER_HEAD_LIMITS } from "../../core/limits.ts";
import { INTERNAL_FAILURE, INVALID_MEMORY_ACCESS, OK } from "../proxy-wasm/abi.ts";
import type { HostWork } from "./work.ts";

/** Bytes of one call into the guest's allocator: no value that we hand over is larger. */
const ALLOCATE_MAX_BYTES = 0x7fff_ffff;

/**
 * The linear memory of a guest, seen from the host. Everything a guest passes is taken as unsigned and checked before use;
 * what its allocator answers as well. The views are re-made only when the memory grew (growing detaches the old buffer). Whatever
 * takes bytes out or puts bytes in pays for it first (`work`), and throws `OutOfFuel` when it cannot.
 */
export class GuestMemory {
  bytes: Buffer = Buffer.from(EMPTY_BYTES.buffer as ArrayBuffer, 0, 0);
  words: DataView = new DataView(new ArrayBuffer(0));
  #lastView: Bytes = EMPTY_BYTES;
  #lastViewAt = 0;
  #allocating = false;

  constructor(
    readonly memory: WebAssembly.Memory,
    /** The guest's allocator; must not throw. 0: failed. */
    readonly allocate: (size: number) => number,
    readonly work: HostWork,
  ) {
    this.#renew();
  }

  /** Call at the start of every host call and after every call into the guest. */
  refresh(): void {
    if (this.bytes.length === 0) this.#renew();
  }

  #renew(): void {
    const { buffer } = this.memory;
    this.bytes = Buffer.from(buffer as ArrayBuffer, 0, buffer.byteLength);
    this.words = new DataView(buffer);
    this.#lastView = EMPTY_BYTES;
  }

  get sizeBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** Is `[at, at + length)` inside? Both count as unsigned 32 bits, so their sum cannot wrap. */
  has(at: number, length: number): boolean {
    return (at >>> 0) + (length >>> 0) <= this.bytes.length;
  }

  /** One character per byte. Check with `has` first. */
  latin1(at: number, length: number): string {
    const start = at >>> 0;
    const size = length >>> 0;
    this.work.text(size);
    return this.bytes.latin1Slice(start, start + size);
  }

  /** Does the text stand there, one character per byte? Costs as much as to read it, whatever others wrote before. Check with `has` first. */
  isText(at: number, length: number, text: string): boolean {
    const size = length >>> 0;
    if (text.length !== size) return false;
    const start = at >>> 0;
    // From the end: values that change from one exchange to the next often begin alike.
    for (let i = size - 1; i >= 0; i--) if (this.bytes[start + i] !== text.charCodeAt(i)) return false;
    this.work.text(size);
    return true;
  }

  utf8(at: number, length: number): string {
    this.work.text(length >>> 0);
    return utf8Text(this.view(at, length));
  }

  /** A view, valid until the guest runs again. Check with `has` first; who moves what it shows pays for that. */
  view(at: number, length: number): Bytes {
    const start = at >>> 0;
    const size = length >>> 0;
    // Guests pass the same places again and again.
    if (start === this.#lastViewAt && size === this.#lastView.length && size > 0) return this.#lastView;
    this.#lastViewAt = start;
    this.#lastView = this.bytes.subarray(start, start + size);
    return this.#lastView;
  }

  /** A copy that lasts. Check with `has` first. */
  copy(at: number, length: number): Bytes {
    this.work.kept(length >>> 0);
    return Uint8Array.prototype.slice.call(this.bytes, at >>> 0, (at >>> 0) + (length >>> 0));
  }

  u32(at: number): number {
    return this.words.getUint32(at >>> 0, true);
  }
  setU32(at: number, value: number): void {
    this.words.setUint32(at >>> 0, value, true);
  }
  setU64(at: number, value: bigint): void {
    this.words.setBigUint64(at >>> 0, BigInt.asUintN(64, value), true);
  }

  /** Room in the guest for `size` bytes, by its own allocator; 0: none. The answer is checked: a guest may lie. */
  #reserve(size: number): number {
    // An allocator that makes the host allocate again would never end.
    if (this.#allocating || size > ALLOCATE_MAX_BYTES) return 0;
    this.#allocating = true;
    const at = this.allocate(size) >>> 0;
    this.#allocating = false;
    this.refresh();
    return at !== 0 && this.has(at, size) ? at : 0;
  }

  /** Hands a text over (one byte per character): `*atPointer = data, *sizePointer = length`. Answers a status. */
  giveText(text: string, atPointer: number, sizePointer: number): number {
    if (!this.has(atPointer, 4) || !this.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
    let at = 0;
    if (text.length > 0) {
      this.work.text(text.length);
      at = this.#reserve(text.length);
      if (at === 0) return INTERNAL_FAILURE;
      writeLatin1(this.bytes, text, at);
    }
    this.setU32(atPointer, at);
    this.setU32(sizePointer, text.length);
    return OK;
  }

  giveBytes(bytes: Bytes, atPointer: number, sizePointer: number): number {
    if (!this.has(atPointer, 4) || !this.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
    const size = bytes.byteLength;
    let at = 0;
    if (size > 0) {
      this.work.moved(size);
      at = this.#reserve(size);
      if (at === 0) return INTERNAL_FAILURE;
      this.bytes.set(bytes, at);
    }
    this.setU32(atPointer, at);
    this.setU32(sizePointer, size);
    return OK;
  }

  /** Hands header pairs over in the ABI's serialisation, written straight into the guest. */
  givePairs(names: readonly string[], values: readonly string[], atPointer: number, sizePointer: number): number {
    if (!this.has(atPointer, 4) || !this.has(sizePointer, 4)) return INVALID_MEMORY_ACCESS;
    const size = pairsSize(names, values);
    this.work.items(names.length);
    this.work.text(size);
    const at = this.#reserve(size);
    // The allocator is the guest's: it may have called the host and changed what is being handed over.
    if (at === 0 || pairsSize(names, values) !== size) return INTERNAL_FAILURE;
    this.#writePairs(names, values, at);
    this.setU32(atPointer, at);
    this.setU32(sizePointer, size);
    return OK;
  }

  #writePairs(names: readonly string[], values: readonly string[], start: number): void {
    const { bytes } = this;
    const view = this.words;
    view.setUint32(start, names.length, true);
    let lengthAt = start + 4;
    let at = lengthAt + names.length * 8;
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      const value = values[i] as string;
      view.setUint32(lengthAt, name.length, true);
      view.setUint32(lengthAt + 4, value.length, true);
      lengthAt += 8;
      writeLatin1(bytes, name, at);
      at += name.length;
      bytes[at++] = 0;
      writeLatin1(bytes, value, at);
      at += value.length;
      bytes[at++] = 0;
    }
  }

  /** How many pairs there are, without reading them; undefined when so many do not fit. Check `[at, at + size)` with `has` first. */
  pairCount(at: number, size: number): number | undefined {
    const start = at >>> 0;
    const length = size >>> 0;
    if (length === 0 || (length === 1 && this.bytes[start] === 0)) return 0;
    const count = length < 4 ? 0x1_0000_0000 : this.u32(start);
    // Each pair takes eight bytes of lengths and two terminators.
    return 4 + count * 10 > length ? undefined : count;
  }

  /** Are they no more than a head may have? */
  mayBeHead(at: number, size: number): boolean {
    return (this.pairCount(at, size) ?? 0) <= FILTER_HEAD_LIMITS.fields;
  }

  /** Reads serialised pairs; undefined when they do not fit their size. Check `[at, at + size)` with `has` first. */
  readPairs(at: number, size: number): { names: string[]; values: string[] } | undefined {
    const names: string[] = [];
    const values: string[] = [];
    const start = at >>> 0;
    const end = start + (size >>> 0);
    const count = this.pairCount(at, size);
    if (count === undefined) return undefined;
    let lengthAt = start + 4;
    let dataAt = lengthAt + count * 8;
    this.work.items(count);
    this.work.text(end - start);
    for (let i = 0; i < count; i++) {
      const nameLength = this.u32(lengthAt);
      const valueLength = this.u32(lengthAt + 4);
      lengthAt += 8;
      const valueAt = dataAt + nameLength + 1;
      const next = valueAt + valueLength + 1;
      if (next > end) return undefined;
      names.push(this.bytes.latin1Slice(dataAt, dataAt + nameLength));
      values.push(this.bytes.latin1Slice(valueAt, valueAt + valueLength));
      dataAt = next;
    }
    return { names, values };
  }
}

/** Bytes of header pairs once serialised. */
export function pairsSize(names: readonly string[], values: readonly string[]): number {
  let size = 4 + names.length * 10;
  for (let i = 0; i < names.length; i++) size += (names[i] as string).length + (values[i] as string).length;
  return size;
}
