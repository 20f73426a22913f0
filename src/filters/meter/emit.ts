import type { Bytes } from "../../core/bytes.ts";
import {
  BULK_MEMORY,
  BULK_MEMORY_GROW,
  BULK_TABLE,
  BULK_TABLE_GROW,
  EVENT_BULK,
  EVENT_CAUGHT,
  EVENT_CHARGE,
  EVENT_LEAVE,
  EVENT_LOOP,
  EVENT_LOOP_END,
  EVENT_RETURN,
  EVENT_ROOT,
  EVENT_TOUCH,
  LOOP_IS_LEAF,
  LOOP_LOADS,
  type Plan,
} from "./plan.ts";
import type { ByteSink } from "./sink.ts";

const OP = {
  unreachable: 0x00,
  block: 0x02,
  if: 0x04,
  end: 0x0b,
  br: 0x0c,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  memorySize: 0x3f,
  i32Const: 0x41,
  i32Ne: 0x47,
  i32Lt: 0x48,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i32Mul: 0x6c,
  i32And: 0x71,
  i32Or: 0x72,
  i32Shl: 0x74,
  i32ShrU: 0x76,
  miscellaneous: 0xfc,
  /** Behind `miscellaneous`. */
  tableSize: 16,
} as const;
const TYPE_I32 = 0x7f;
const TYPE_EMPTY = 0x40;

/** Most bytes that one event inserts; and that the entry and end of a function take. */
const EVENT_BYTES = 80;
const FRAME_BYTES = 128;

/** A function of the module, and what its depth guard needs. */
export interface BodyShape {
  /** Where the entry begins, behind its size. */
  readonly at: number;
  /** Where its instructions begin and end (behind the last `end`), and where its list of locals begins. */
  readonly start: number;
  readonly end: number;
  readonly localsAt: number;
  /** Entries of that list (runs of one type). */
  readonly localRuns: number;
  /** Parameters and locals. */
  readonly locals: number;
  /** What a call of it takes of the depth; 0: it is not guarded. */
  readonly depth: number;
  /** Type of the block around its body: a byte that is a type, or an index from `typeIndex`. */
  readonly resultType: ResultType;
  /** Whether a branch leaves it before its end. */
  readonly leavesEarly: boolean;
  /** Whether its callers pay for the entry. Then it has no guard. */
  readonly isPaid: boolean;
  /** Its part of the plan: events from one to another, and the segment of its entry. */
  readonly eventsFrom: number;
  readonly eventsTo: number;
  readonly entry: number;
}

/** How a block with the function's results is written: one byte of a type, else a type's index. */
export type ResultType = { readonly byte: number } | { readonly index: number };

/** Bounds that lengths are masked with: a longer one traps anyway, before it works. */
export interface LengthMasks {
  readonly memoryBytes: number;
  readonly memoryPages: number;
  readonly tableElements: number;
}

/** The smallest 2^n - 1 that is not below `bound`. */
export function maskFor(bound: number): number {
  let mask = 1;
  while (mask < bound) mask = mask * 2 + 1;
  return Math.min(mask, 0xffff_ffff);
}

/**
 * Writes function bodies with the plan's insertions. All insertions leave the operand stack as it was. Each body gets one
 * local of type i32 behind its own, and one more when it is guarded.
 */
export class BodyEmitter {
  readonly #sink: ByteSink;
  readonly #bytes: Bytes;
  readonly #plan: Plan;
  readonly #fuel: number;
  readonly #masks: LengthMasks;
  #temporary = 0;
  #ownDepth = 0;
  /** Frame of the outermost open loop that calls nothing; -1: the global is right. */
  #leaf = -1;

  constructor(sink: ByteSink, bytes: Bytes, plan: Plan, fuelGlobal: number, masks: LengthMasks) {
    this.#sink = sink;
    this.#bytes = bytes;
    this.#plan = plan;
    this.#fuel = fuelGlobal;
    this.#masks = masks;
  }

  get #depth(): number {
    return this.#fuel + 1;
  }

  /** Writes one entry of the code section as it was. */
  copy({ at, end }: Pick<BodyShape, "at" | "end">): void {
    const sink = this.#sink;
    sink.reserve(end - at + 5);
    sink.u32(end - at);
    sink.copy(this.#bytes, at, end);
  }

  /** Writes one entry of the code section. */
  emit(body: BodyShape): void {
    const sink = this.#sink;
    const bound = body.end - body.localsAt + (body.eventsTo - body.eventsFrom) * EVENT_BYTES + FRAME_BYTES;
    sink.reserve(bound + 5);
    const sizeWidth = bound < 0x4000 ? 2 : bound < 0x20_0000 ? 3 : 5;
    const sizeAt = sink.length;
    sink.length += sizeWidth;
    const isGuarded = body.depth > 0;
    this.#temporary = body.locals;
    this.#ownDepth = body.locals + 1;
    this.#leaf = -1;
    sink.u32(body.localRuns + 1);
    sink.copy(this.#bytes, body.localsAt, body.start);
    sink.u32(isGuarded ? 2 : 1);
    sink.byte(TYPE_I32);
    this.#enter(body);
    const isWrapped = isGuarded && body.leavesEarly;
    if (isWrapped) {
      sink.byte(OP.block);
      if ("byte" in body.resultType) sink.byte(body.resultType.byte);
      else sink.s32(body.resultType.index);
    }
    this.#insertEvents(body);
    if (isWrapped) sink.byte(OP.end);
    if (isGuarded) this.#giveBack(body.depth);
    sink.byte(OP.end);
    sink.patchU32(sizeAt, sink.length - sizeAt - sizeWidth, sizeWidth);
  }

  /** The body without its last `end`. */
  #insertEvents(body: BodyShape): void {
    const sink = this.#sink;
    const { eventAt, eventKind, eventValue, costs } = this.#plan;
    let cursor = body.start;
    for (let i = body.eventsFrom; i < body.eventsTo; i++) {
      const kind = eventKind[i] as number;
      const value = eventValue[i] as number;
      const fuel = kind <= EVENT_CHARGE ? (costs[value >> 1] as number) : 0;
      if (kind === EVENT_CHARGE && fuel === 0) continue;
      const at = eventAt[i] as number;
      sink.copy(this.#bytes, cursor, at);
      cursor = at;
      if (kind === EVENT_CHARGE) this.#pay(fuel, (value & 1) !== 0);
      else if (kind === EVENT_ROOT) this.#root(fuel, (value & 1) !== 0);
      else if (kind === EVENT_BULK) this.#payLength(value);
      else if (kind === EVENT_TOUCH) this.#touch();
      else if (kind >= EVENT_LOOP) cursor += this.#loopEvent(kind, value, at);
      else if (body.depth > 0) cursor += this.#depthEvent(kind, value, body.depth);
      else if (kind === EVENT_RETURN) this.#flush();
    }
    sink.copy(this.#bytes, cursor, body.end - 1);
  }

  #touch(): void {
    this.#constant(1);
    this.#op(OP.globalSet, this.#fuel + 2);
  }

  /** What only guarded functions need. Returns how many bytes of the original it takes the place of. */
  #depthEvent(kind: number, value: number, depth: number): number {
    if (kind === EVENT_RETURN) {
      this.#flush();
      this.#op(OP.br, value);
      return 1;
    }
    if (kind === EVENT_LEAVE) this.#giveBack(depth);
    else if (kind === EVENT_CAUGHT && value !== 0) {
      this.#op(OP.localGet, this.#ownDepth);
      this.#op(OP.globalSet, this.#depth);
    }
    return 0;
  }

  /** The edges of loops. Returns how many bytes of the original it takes the place of. */
  #loopEvent(kind: number, value: number, at: number): number {
    if (kind === EVENT_LOOP) {
      if (this.#leaf >= 0) return 0;
      if ((value & LOOP_IS_LEAF) !== 0) this.#leaf = value >> 2;
      if ((value & LOOP_LOADS) === 0) return 0;
      this.#op(OP.globalGet, this.#fuel);
      this.#op(OP.localSet, this.#temporary);
      return 0;
    }
    if (kind === EVENT_LOOP_END) {
      if (value >> 1 !== this.#leaf) return 0;
      if ((value & 1) === 0) this.#flush();
      this.#leaf = -1;
      return 0;
    }
    return this.#exit(value, at);
  }

  /** Something may leave the loop: then the global has to be right. */
  #exit(value: number, at: number): number {
    const target = (value >> 3) - 1;
    if (this.#leaf < 0 || target >= this.#leaf) return 0;
    const size = value & 7;
    if (size === 0) {
      this.#flush();
      return 0;
    }
    let label = 0;
    for (let i = size - 1; i > 0; i--) label = label * 128 + ((this.#bytes[at + i] as number) & 0x7f);
    this.#sink.byte(OP.if);
    this.#sink.byte(TYPE_EMPTY);
    this.#flush();
    this.#op(OP.br, label + 1);
    this.#sink.byte(OP.end);
    return size;
  }

  /** In a loop that calls nothing the counter is in the local alone. */
  #flush(): void {
    if (this.#leaf < 0) return;
    this.#op(OP.localGet, this.#temporary);
    this.#op(OP.globalSet, this.#fuel);
  }

  #op(opcode: number, index: number): void {
    this.#sink.byte(opcode);
    this.#sink.u32(index);
  }

  #constant(value: number): void {
    this.#sink.byte(OP.i32Const);
    this.#sink.s32(value);
  }

  /** The counter is in the local already, or has to be loaded: after that it is. */
  #pay(fuel: number, loads: boolean): void {
    if (this.#leaf >= 0) {
      this.#difference(OP.localGet, this.#temporary, fuel);
      this.#op(OP.localSet, this.#temporary);
      return;
    }
    if (loads) this.#difference(OP.globalGet, this.#fuel, fuel);
    else this.#difference(OP.localGet, this.#temporary, fuel);
    this.#op(OP.localTee, this.#temporary);
    this.#op(OP.globalSet, this.#fuel);
  }

  /** A local or global less an amount. */
  #difference(opcode: number, index: number, amount: number): void {
    this.#op(opcode, index);
    this.#constant(amount);
    this.#sink.byte(OP.i32Sub);
  }

  /** What ran out stays negative in the global: every further check traps as well. */
  #trapIfNegative(): void {
    const sink = this.#sink;
    this.#constant(0);
    sink.byte(OP.i32Lt);
    sink.byte(OP.if);
    sink.byte(TYPE_EMPTY);
    this.#flush();
    sink.byte(OP.unreachable);
    sink.byte(OP.end);
  }

  #root(fuel: number, loads: boolean): void {
    this.#pay(fuel, loads);
    this.#op(OP.localGet, this.#temporary);
    this.#trapIfNegative();
  }

  /**
   * Fuel and depth are checked at once: their bits or'ed are negative when one of them is. An entry that costs nothing is paid
   * for by the callers, or by the header of the loop that follows.
   */
  #enter({ depth, entry, isPaid }: BodyShape): void {
    const fuel = isPaid ? 0 : (this.#plan.costs[entry] as number);
    if (depth === 0) {
      if (fuel > 0) this.#root(fuel, true);
      return;
    }
    if (fuel > 0) this.#pay(fuel, true);
    this.#difference(OP.globalGet, this.#depth, depth);
    this.#op(OP.localTee, this.#ownDepth);
    this.#op(OP.globalSet, this.#depth);
    this.#op(OP.localGet, this.#ownDepth);
    if (fuel > 0) {
      this.#op(OP.localGet, this.#temporary);
      this.#sink.byte(OP.i32Or);
    }
    this.#trapIfNegative();
  }

  /** Gives the frame's depth back, from this frame's own value: a load would wait for what the last call has stored. */
  #giveBack(depth: number): void {
    this.#op(OP.localGet, this.#ownDepth);
    this.#constant(depth);
    this.#sink.byte(OP.i32Add);
    this.#op(OP.globalSet, this.#depth);
  }

  /** The length is the topmost operand, and stays there. */
  #payLength(kind: number): void {
    const sink = this.#sink;
    const { memoryBytes, memoryPages, tableElements } = this.#masks;
    this.#op(OP.localTee, this.#temporary);
    this.#op(OP.globalGet, this.#fuel);
    this.#op(OP.localGet, this.#temporary);
    if (kind === BULK_MEMORY) this.#scale(memoryBytes, OP.i32ShrU, 3);
    else if (kind === BULK_TABLE) this.#scale(tableElements, OP.i32Shl, 5);
    else if (kind === BULK_MEMORY_GROW) this.#scaleGrowth(memoryPages);
    else this.#scaleTableGrowth(tableElements, kind - BULK_TABLE_GROW);
    sink.byte(OP.i32Sub);
    this.#op(OP.localTee, this.#temporary);
    this.#op(OP.globalSet, this.#fuel);
    this.#op(OP.localGet, this.#temporary);
    this.#trapIfNegative();
  }

  /**
   * New pages cost 256 each. Besides, an engine may move the whole memory to a larger place (JavaScriptCore does, for memories
   * that have no address space reserved for them), so growing by anything costs 1,024 for each page that is there: without that,
   * growing page by page to 64 MiB took a minute for the price of two milliseconds.
   */
  #scaleGrowth(bound: number): void {
    const sink = this.#sink;
    this.#scale(bound, OP.i32Shl, 8);
    this.#op(OP.memorySize, 0);
    this.#op(OP.localGet, this.#temporary);
    this.#constant(0);
    sink.byte(OP.i32Ne);
    sink.byte(OP.i32Mul);
    this.#constant(10);
    sink.byte(OP.i32Shl);
    sink.byte(OP.i32Add);
  }

  /** Eight for a new element, and one for each that is there: it may be moved as well. */
  #scaleTableGrowth(bound: number, table: number): void {
    const sink = this.#sink;
    this.#scale(bound, OP.i32Shl, 3);
    sink.byte(OP.miscellaneous);
    this.#op(OP.tableSize, table);
    sink.byte(OP.i32Add);
  }

  #scale(bound: number, shift: number, bits: number): void {
    this.#constant(maskFor(bound));
    this.#sink.byte(OP.i32And);
    this.#constant(bits);
    this.#sink.byte(shift);
  }
}
