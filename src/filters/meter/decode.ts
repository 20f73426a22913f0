import { METER_LIMITS } from "../../core/limits.ts";
import type { CallGraph } from "./calls.ts";
import { malformed, overLimit } from "./error.ts";
import { FRAME_BLOCK, FRAME_CATCH, FRAME_ELSE, FRAME_FUNCTION, FRAME_IF, FRAME_LOOP, FRAME_TRY, Frames } from "./frames.ts";
import * as ops from "./opcodes.ts";
import {
  BULK_MEMORY_GROW,
  BULK_TABLE_GROW,
  bulkOf,
  EVENT_BULK,
  EVENT_CAUGHT,
  EVENT_LEAVE,
  EVENT_LOAD,
  EVENT_RETURN,
  type Plan,
} from "./plan.ts";
import {
  type BlockShape,
  readBlockType,
  readMemoryIndex,
  readMiscellaneous,
  readVector,
  refuseMemoryArgument,
} from "./prefixed.ts";
import { ByteReader } from "./reader.ts";
import { checkReferenceType, checkValueType, refuseOpcode } from "./refuse.ts";
import type { ModuleShape } from "./shape.ts";

const { immediates, heights, weights } = ops.PLAIN;
/** What an instruction pays at least when it branches over many targets or types. */
const BR_TABLE_FUEL = 2;
const TABLE_GROW = 15;

/**
 * Walks the instructions of function bodies and fills the plan. It trusts nothing: every index that the inserted code could
 * make valid by accident (locals, globals, types, labels) is checked against what the module itself has. All else is copied as
 * it is, so what was invalid stays invalid.
 */
export class BodyDecoder {
  /** Whether it calls anything that is not paid for by its callers: only then can it be part of a recursion. */
  calls = false;
  /** Whether it has a loop, or an operation that pays for a length: then it pays for itself. */
  isLong = false;
  /** Whether an exception may arrive in it. */
  catches = false;
  /** Whether a branch or a `return` leaves it before its end. */
  leavesEarly = false;
  /** Most operands on the stack at once. */
  heightMax = 0;
  instructions = 0;
  /** Where calls are noted. Undefined: nowhere. */
  graph: CallGraph | undefined;

  readonly #shape: ModuleShape;
  readonly #plan: Plan;
  readonly #prepaid: Uint8Array;
  readonly #frames = new Frames();
  #reader: ByteReader;
  #height = 0;

  /** `prepaid`: what the callers of each function pay for it, because it pays nothing itself; 0: it does. */
  constructor(shape: ModuleShape, plan: Plan, prepaid: Uint8Array) {
    this.#shape = shape;
    this.#plan = plan;
    this.#prepaid = prepaid;
    this.#reader = new ByteReader(shape.bytes, 0, 0);
  }

  /** Decodes the instructions from `start` to `end`. Returns the segment of the entry. Throws `MeterError`. */
  decode(start: number, end: number, locals: number, results: number): number {
    this.calls = this.catches = this.leavesEarly = this.isLong = false;
    this.heightMax = this.#height = 0;
    const entry = this.#plan.begin();
    this.#frames.top = -1;
    this.#frames.push(FRAME_FUNCTION, 0, 0, results, entry, entry);
    this.#reader = new ByteReader(this.#shape.bytes, start, end);
    this.#walk(end, locals, this.#shape.globals);
    if (this.#reader.at !== end || this.#frames.top >= 0) throw malformed("the module has a function that does not end");
    return entry;
  }

  #walk(end: number, locals: number, globals: number): void {
    const { bytes } = this.#shape;
    const plan = this.#plan;
    const reader = this.#reader;
    let { at } = reader;
    let height = 0;
    let cost = 0;
    let heightMax = 0;
    let count = 0;
    while (at < end) {
      const opcode = bytes[at++] as number;
      count++;
      switch (immediates[opcode]) {
        case ops.IMM_NONE:
          break;
        case ops.IMM_LOCAL: {
          let index = bytes[at++] as number;
          if (index >= 0x80) {
            reader.at = at - 1;
            index = reader.u32();
            at = reader.at;
          }
          if (index >= locals) throw malformed(`the module uses a local that is not there, ${index}`);
          break;
        }
        case ops.IMM_GLOBAL: {
          reader.at = at;
          const index = reader.u32();
          at = reader.at;
          if (index >= globals) throw malformed(`the module uses a global that is not there, ${index}`);
          break;
        }
        case ops.IMM_NUMBER:
          while ((bytes[at++] as number) >= 0x80);
          break;
        case ops.IMM_4_BYTES:
          at += 4;
          break;
        case ops.IMM_8_BYTES:
          at += 8;
          break;
        case ops.IMM_MEMORY_ARGUMENT:
          if ((bytes[at] as number) >= 0x40) throw refuseMemoryArgument(bytes[at] as number);
          at++;
          while ((bytes[at++] as number) >= 0x80);
          break;
        default:
          reader.at = at;
          plan.cost = cost;
          this.#height = height;
          this.#special(opcode);
          at = reader.at;
          cost = plan.cost;
          height = this.#height;
          if (height > heightMax) heightMax = height;
          if (this.#frames.top < 0) end = at;
          continue;
      }
      cost += weights[opcode] as number;
      height += heights[opcode] as number;
      if (height > heightMax) heightMax = height;
    }
    reader.at = at;
    this.heightMax = heightMax;
    this.instructions += count;
  }

  /** Everything with consequences for the flow of control, the stack or the plan. */
  #special(opcode: number): void {
    const plan = this.#plan;
    plan.cost += weights[opcode] as number;
    this.#height += heights[opcode] as number;
    if (opcode <= 0x06 || opcode === 0x0b || opcode === 0x1f) this.#structure(opcode);
    else if (opcode >= 0x0c && opcode <= 0x13) this.#jump(opcode);
    else if (opcode < 0x1a) this.#exception(opcode);
    else this.#rare(opcode);
  }

  /** Blocks, their arms and ends. */
  #structure(opcode: number): void {
    switch (opcode) {
      case 0x00:
        this.#die();
        break;
      case 0x02:
        this.#enter(FRAME_BLOCK);
        break;
      case 0x03:
        this.#enterLoop();
        break;
      case 0x04:
        this.#enterIf();
        break;
      case 0x05:
        this.#else();
        break;
      case 0x06:
        this.catches = true;
        this.#enter(FRAME_TRY);
        break;
      case 0x0b:
        this.#end();
        break;
      default:
        this.#enterTryTable();
    }
  }

  /** Branches and calls. */
  #jump(opcode: number): void {
    const reader = this.#reader;
    const plan = this.#plan;
    switch (opcode) {
      case 0x0c:
        this.#branch(reader.u32(), this.#frames.top);
        this.#die();
        break;
      case 0x0d:
        this.#height--;
        this.#branch(reader.u32(), this.#frames.top);
        plan.close();
        plan.open(reader.at);
        break;
      case 0x0e:
        this.#branchTable();
        break;
      case 0x0f:
        plan.addEvent(reader.at - 1, EVENT_RETURN, this.#frames.top);
        this.leavesEarly = true;
        this.#die();
        break;
      case 0x10:
      case 0x12:
        this.#call(opcode === 0x12);
        break;
      default:
        this.#callIndirect(opcode === 0x13);
    }
  }

  #exception(opcode: number): void {
    switch (opcode) {
      case 0x07:
        this.#catch(this.#tagParams());
        break;
      case 0x08:
        this.#tagParams();
        this.#die();
        break;
      case 0x09:
        this.#frames.target(this.#reader.u32(), this.#frames.top);
        this.#die();
        break;
      case 0x0a:
        this.#die();
        break;
      case 0x18:
        this.#delegate();
        break;
      case 0x19:
        this.#catch(0);
        break;
      default:
        throw refuseOpcode(opcode);
    }
  }

  #rare(opcode: number): void {
    const reader = this.#reader;
    switch (opcode) {
      case 0x1c:
        if (reader.count() !== 1) throw malformed("the module has a select of more than one type");
        checkValueType(reader.byte());
        this.#height -= 2;
        break;
      case 0x25:
      case 0x26:
        reader.u32();
        break;
      case 0x3f:
        readMemoryIndex(reader);
        break;
      case 0x40:
        this.#bulk(reader.at - 1, BULK_MEMORY_GROW);
        readMemoryIndex(reader);
        break;
      case 0xd0:
        checkReferenceType(reader.byte());
        break;
      case 0xd2:
        this.#noteFunction(reader.u32());
        break;
      case 0xfc:
      case 0xfd:
        this.#prefixed(opcode);
        break;
      default:
        throw refuseOpcode(opcode);
    }
  }

  /** A reference to a function must be declared elsewhere, and was noted there. */
  #noteFunction(index: number): void {
    const { importedFunctions, hostInTable, entries } = this.#shape;
    const own = index - importedFunctions;
    if (own < 0 ? !hostInTable : this.#prepaid[own] !== 0)
      throw malformed("the module refers to a function that it has not declared");
    entries.push(index);
  }

  #push(kind: number, { params, results }: BlockShape): void {
    const plan = this.#plan;
    const base = Math.max(0, this.#height - params);
    this.#frames.push(kind, base, params, results, plan.segment, plan.dominator);
    const { top } = this.#frames;
    this.#frames.current[top] = plan.isCurrent ? 1 : 0;
    this.#frames.calls[top] = plan.calls;
  }

  #enter(kind: number): void {
    this.#push(kind, readBlockType(this.#shape, this.#reader));
  }

  #enterLoop(): void {
    const plan = this.#plan;
    const opcodeAt = this.#reader.at - 1;
    const type = readBlockType(this.#shape, this.#reader);
    this.isLong = true;
    plan.close();
    this.#push(FRAME_LOOP, type);
    // Three events, found again from here.
    this.#frames.events[this.#frames.top] = plan.events;
    plan.addEvent(opcodeAt, EVENT_LOAD, plan.isCurrent ? 0 : 1);
    plan.addEvent(this.#reader.at, EVENT_CAUGHT, 0);
    plan.openRoot(this.#reader.at);
  }

  /** Now it is known whether the loop calls anything. If so, its header loads the counter, and nobody does before it. */
  #endLoop(top: number): void {
    const plan = this.#plan;
    if (plan.calls === this.#frames.calls[top]) return;
    const event = this.#frames.events[top] as number;
    plan.eventValue[event] = 0;
    plan.eventValue[event + 2] = (plan.eventValue[event + 2] as number) | 1;
  }

  #enterIf(): void {
    const type = readBlockType(this.#shape, this.#reader);
    this.#height--;
    this.#plan.close();
    this.#push(FRAME_IF, type);
    this.#plan.open(this.#reader.at);
  }

  /** Ends an arm, and begins the next one with what dominated the whole. */
  #nextArm(kind: number, height: number): void {
    const { top, bases, segments, dominators } = this.#frames;
    this.#frames.kinds[top] = kind;
    this.#plan.close();
    this.#plan.restoreDominator(segments[top] as number, dominators[top] as number);
    this.#plan.isCurrent = kind === FRAME_ELSE && this.#frames.current[top] === 1;
    this.#plan.open(this.#reader.at);
    this.#height = (bases[top] as number) + height;
  }

  #else(): void {
    const { top } = this.#frames;
    if (this.#frames.kinds[top] !== FRAME_IF) throw malformed("the module has an else without an if");
    this.#nextArm(FRAME_ELSE, this.#frames.params[top] as number);
  }

  #catch(operands: number): void {
    const kind = this.#frames.kinds[this.#frames.top];
    if (kind !== FRAME_TRY && kind !== FRAME_CATCH) throw malformed("the module has a catch without a try");
    this.#plan.addEvent(this.#reader.at, EVENT_CAUGHT, 1);
    this.#nextArm(FRAME_CATCH, operands);
  }

  #tagParams(): number {
    const tag = this.#reader.u32();
    const type = this.#shape.types[this.#shape.tagTypes[tag] ?? -1];
    if (type === undefined) throw malformed(`the module has no tag ${tag}`);
    return type.params;
  }

  #enterTryTable(): void {
    const reader = this.#reader;
    this.catches = true;
    const type = readBlockType(this.#shape, reader);
    const outside = this.#frames.top;
    const count = reader.count();
    for (let i = 0; i < count; i++) {
      const kind = reader.byte();
      if (kind > 3) throw malformed("the module has an unknown kind of catch");
      if (kind < 2) this.#tagParams();
      const target = this.#branch(reader.u32(), outside);
      this.#frames.caught[target] = 1;
      if (this.#frames.kinds[target] === FRAME_LOOP) this.#plan.eventValue[(this.#frames.events[target] as number) + 1] = 1;
    }
    this.#plan.cost += count;
    this.#push(FRAME_BLOCK, type);
  }

  #delegate(): void {
    if (this.#frames.kinds[this.#frames.top] !== FRAME_TRY) throw malformed("the module has a delegate without a try");
    this.#frames.target(this.#reader.u32(), this.#frames.top - 1);
    this.#end();
  }

  #end(): void {
    const frames = this.#frames;
    const plan = this.#plan;
    const top = frames.top--;
    const kind = frames.kinds[top] as number;
    const isDead = plan.segment < 0;
    const goesOn = (kind === FRAME_BLOCK || kind === FRAME_TRY) && frames.targeted[top] === 0;
    this.#height = (frames.bases[top] as number) + (frames.results[top] as number);
    if (kind === FRAME_LOOP) this.#endLoop(top);
    if (goesOn) return;
    plan.close();
    if (top === 0) return;
    // Branches arrive with what was true at their places: sure is only what held all the time.
    if (kind !== FRAME_LOOP) plan.isCurrent = frames.current[top] === 1 && frames.calls[top] === plan.calls;
    plan.restoreDominator(frames.segments[top] as number, frames.dominators[top] as number);
    // A loop's label is at its beginning: its end is reached by going on alone.
    if (kind === FRAME_LOOP && isDead) return;
    if (frames.caught[top] !== 0 && kind !== FRAME_LOOP) plan.addEvent(this.#reader.at, EVENT_CAUGHT, 1);
    plan.open(this.#reader.at);
  }

  /** Notes a branch. Returns the frame that it goes to. */
  #branch(label: number, from: number): number {
    const target = this.#frames.target(label, from);
    this.#frames.targeted[target] = 1;
    if (target === 0) this.leavesEarly = true;
    return target;
  }

  #branchTable(): void {
    const reader = this.#reader;
    const count = reader.count();
    if (count > METER_LIMITS.branchTargets)
      throw overLimit(`the module has a br_table of ${count} targets, the limit is ${METER_LIMITS.branchTargets}`);
    for (let i = 0; i <= count; i++) this.#branch(reader.u32(), this.#frames.top);
    this.#plan.cost += BR_TABLE_FUEL;
    this.#die();
  }

  /** What follows cannot be reached until the block ends. */
  #die(): void {
    this.#plan.close();
    this.#height = this.#frames.bases[this.#frames.top] as number;
  }

  #call(isTail: boolean): void {
    const reader = this.#reader;
    const opcodeAt = reader.at - 1;
    const callee = reader.u32();
    const { functionTypes, importedFunctions } = this.#shape;
    if (callee >= functionTypes.length) throw malformed(`the module calls a function that is not there, ${callee}`);
    const own = callee - importedFunctions;
    const prepaid = own < 0 ? 0 : (this.#prepaid[own] as number);
    this.#plan.cost += own < 0 ? ops.WEIGHTS.hostCall : prepaid;
    this.graph?.add(own < 0 ? this.graph.elsewhere : own);
    this.#leave(functionTypes[callee] as number, isTail, opcodeAt, prepaid > 0);
  }

  #callIndirect(isTail: boolean): void {
    const reader = this.#reader;
    const opcodeAt = reader.at - 1;
    const type = reader.u32();
    reader.u32();
    this.#height--;
    if (this.#shape.hostInTable) this.#plan.cost += ops.WEIGHTS.hostCall;
    this.graph?.add(this.graph.elsewhere);
    this.#leave(type, isTail, opcodeAt, false);
  }

  #leave(typeIndex: number, isTail: boolean, opcodeAt: number, isPrepaid: boolean): void {
    const type = this.#shape.types[typeIndex];
    if (type === undefined) throw malformed(`the module has no type ${typeIndex}`);
    if (!isPrepaid) {
      this.calls = true;
      this.#plan.noteCall();
    }
    this.#height = Math.max(0, this.#height - type.params) + type.results;
    if (!isTail) return;
    this.#plan.addEvent(opcodeAt, EVENT_LEAVE, 0);
    this.#die();
  }

  #prefixed(opcode: number): void {
    const reader = this.#reader;
    const opcodeAt = reader.at - 1;
    const table = opcode === 0xfc ? ops.MISCELLANEOUS : ops.VECTOR;
    const number = opcode === 0xfc ? readMiscellaneous(reader) : readVector(reader);
    this.#plan.cost += table.weights[number] as number;
    this.#height += table.heights[number] as number;
    if (table.immediates[number] !== ops.IMM_SPECIAL) return;
    this.#bulk(opcodeAt, number === TABLE_GROW ? this.#growingTable(opcodeAt) : bulkOf(number));
  }

  #bulk(opcodeAt: number, kind: number): void {
    this.isLong = true;
    this.#plan.addEvent(opcodeAt, EVENT_BULK, kind);
    this.#plan.isCurrent = true;
  }

  /** Which table grows: read once more, now for its index. */
  #growingTable(opcodeAt: number): number {
    const reader = this.#reader;
    reader.at = opcodeAt + 1;
    reader.u32();
    return BULK_TABLE_GROW + reader.u32();
  }
}
