import { Buffer } from "node:buffer";
import { writeLatin1 } from "../../core/bytes.ts";
import { COMPONENT_LIMITS } from "../../core/limits.ts";
import { describeBreach, describeTrap, hostFailure } from "../guest/faults.ts";
import type { Restorable } from "../guest/isolation.ts";
import { HostWork, OutOfFuel } from "../guest/work.ts";
import { HandleTable } from "./handles.ts";
import { type LinearMemory, Trap } from "./memory.ts";

/**
 * What all instances of one loaded component share: whether it is broken, whether it may be entered, and what it has handed
 * over in the call at hand.
 */
export class GuestStore implements Restorable {
  /** Why it is broken; undefined: it is not. It is never entered again then, and its host calls do nothing. */
  fault: string | undefined;
  /** Handles of this component that are lent for the call at hand. */
  lent = 0;
  /** False while the guest's allocator or clean-up runs: it may not call out. */
  mayLeave = true;
  #liftedBytes = 0;
  #liftedItems = 0;
  /** In the call at hand, and the most. */
  hostCalls = 0;
  #callsLeft = 0;

  /** Of all component instances inside. */
  readonly handles: HandleTable[] = [];

  /** `hostCallsMax`: calls to the host in one callback. `describe`: why the guest itself trapped. */
  constructor(
    readonly hostCallsMax: number,
    readonly describe: (error: unknown) => string = describeTrap,
    readonly work = new HostWork(),
  ) {}

  /** A call out of the guest threw: that is why it is broken. A trap is the guest's own: of its allocator, or of another component inside. */
  break(error: unknown): void {
    if (this.fault !== undefined) return;
    if (error instanceof Trap) this.fault = describeBreach(error.message);
    else {
      const isGuests = error instanceof WebAssembly.RuntimeError || error instanceof OutOfFuel;
      this.fault = isGuests ? this.describe(error) : hostFailure(error);
    }
  }

  keep(): void {
    for (const table of this.handles) table.keep();
  }
  restore(): void {
    for (const table of this.handles) table.restore();
  }

  /** At the start of every call into the guest. `callsLeft`: most calls to the host in it. */
  beginCall(callsLeft = this.hostCallsMax): void {
    this.#liftedBytes = 0;
    this.#liftedItems = 0;
    this.hostCalls = 0;
    this.#callsLeft = callsLeft;
  }

  /** At the start of every call out of it. Throws a `Trap` when it may not. */
  beginHostCall(): void {
    if (!this.mayLeave) throw new Trap("a call to the host from the allocator or from clean-up");
    this.countHostCall();
  }

  /** At the start of a call about its own handles: clean-up may do that, as in other hosts. Throws a `Trap` when it is broken. */
  countHostCall(): void {
    if (this.fault !== undefined) throw new Trap(this.fault);
    if (++this.hostCalls <= this.#callsLeft) return;
    const within = this.#callsLeft < this.hostCallsMax ? "more than its budget of calls" : `more than ${this.hostCallsMax} calls`;
    throw new Trap(`${within} to the host in one ${this.#callsLeft < this.hostCallsMax ? "exchange" : "callback"}`);
  }

  /** Bytes that go from the guest to the host. Throws a `Trap`; who makes something of them pays for that. */
  spendBytes(bytes: number): void {
    this.#liftedBytes += bytes;
    if (this.#liftedBytes > COMPONENT_LIMITS.liftedBytes) throw new Trap("it hands over more bytes than one call may");
  }
  spendItems(items: number): void {
    this.#liftedItems += items;
    if (this.#liftedItems > COMPONENT_LIMITS.liftedItems) throw new Trap("it hands over more values than one call may");
    this.work.items(items);
  }
}

/** One component instance: handles are numbers in its own table. */
export class ComponentInstance {
  readonly handles = new HandleTable();
  constructor(readonly store: GuestStore) {
    store.handles.push(this.handles);
  }
}

type CoreFunction = (...args: (number | bigint)[]) => unknown;

/** What lifting and lowering of one function needs: where values lie, and who makes room for them. */
export class CallContext {
  readonly store: GuestStore;

  constructor(
    readonly instance: ComponentInstance,
    readonly linear: LinearMemory | undefined,
    readonly realloc: CoreFunction | undefined,
    readonly encoding: "utf8" | "utf16" | "latin1+utf16",
  ) {
    this.store = instance.store;
  }

  get memory(): LinearMemory {
    if (this.linear === undefined) throw new Trap("a value in memory, but the function names no memory");
    return this.linear;
  }

  /** Room in the guest, by its own allocator. Throws a `Trap` when there is none. */
  allocate(size: number, align: number): number {
    if (this.realloc === undefined) throw new Trap("a value in memory, but the function names no allocator");
    const { store, memory } = this;
    store.mayLeave = false;
    const answered = this.realloc(0, 0, align, size);
    store.mayLeave = true;
    memory.refresh();
    const at = typeof answered === "number" ? answered >>> 0 : 0xffff_ffff;
    memory.check(at, size, align);
    return at;
  }

  /** The string at `[at, at + units)`. */
  readString(at: number, units: number): string {
    const { memory } = this;
    if (this.encoding === "utf8") return this.#readUtf8(memory, at, units);
    if (this.encoding === "latin1+utf16" && (units & 0x8000_0000) === 0) {
      memory.check(at, units, 2);
      this.#payText(units);
      return memory.bytes.latin1Slice(at, at + units);
    }
    const bytes = (units & 0x7fff_ffff) * 2;
    memory.check(at, bytes, 2);
    this.#payText(bytes);
    return memory.bytes.toString("utf16le", at, at + bytes);
  }

  #readUtf8(memory: LinearMemory, at: number, length: number): string {
    memory.check(at, length, 1);
    this.#payText(length);
    const text = memory.bytes.utf8Slice(at, at + length);
    // Malformed bytes become U+FFFD; that character itself is three bytes that are not malformed.
    if (text.includes("\ufffd") && Buffer.compare(Buffer.from(text), memory.bytes.subarray(at, at + length)) !== 0)
      throw new Trap("a string that is not UTF-8");
    return text;
  }

  #payText(bytes: number): void {
    this.store.spendBytes(bytes);
    this.store.work.text(bytes);
  }

  /** Writes a string into the guest; answers where, and leaves its length in `units`. */
  writeString(text: string): number {
    this.store.work.text(text.length);
    if (this.encoding === "utf8") return this.#writeUtf8(text);
    // Both of the others take UTF-16; the second one marks it in the length.
    const at = this.allocate(text.length * 2, 2);
    this.memory.bytes.write(text, at, "utf16le");
    this.units = this.encoding === "utf16" ? text.length : (text.length | 0x8000_0000) >>> 0;
    return at;
  }
  units = 0;

  #writeUtf8(text: string): number {
    const length = isAscii(text) ? text.length : Buffer.byteLength(text);
    const at = this.allocate(length, 1);
    const { bytes } = this.memory;
    if (length !== text.length) bytes.utf8Write(text, at, length);
    else writeLatin1(bytes, text, at);
    this.units = length;
    return at;
  }
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}
