import { METER_LIMITS } from "../../core/limits.ts";
import type { CallGraph } from "./calls.ts";
import { noteInstructionReference } from "./constants.ts";
import { malformed } from "./error.ts";
import { FRAME_BLOCK, FRAME_CATCH, FRAME_ELSE, FRAME_FUNCTION, FRAME_IF, FRAME_LOOP, FRAME_TRY, Frames } from "./frames.ts";
import { Loops } from "./loops.ts";
import * as ops from "./opcodes.ts";
import { ESCAPES, NOISY, type PaidEntries, QUIET } from "./paid.ts";
import {
  BULK_MEMORY_GROW,
  BULK_TABLE_GROW,
  bulkOf,
  EVENT_CAUGHT,
  EVENT_LEAVE,
  EVENT_RETURN,
  OUTSIDE,
  type Plan,
} from "./plan.ts";
import {
  type BlockShape,
  readBlockType,
  readGrowingTable,
  readMemoryIndex,
  readMiscellaneous,
  readSelectType,
  readVector,
  refuseMemoryArgument,
} from "./prefixed.ts";
import { ByteReader } from "./reader.ts";
import { checkReferenceType, refuseOpcode } from "./refuse.ts";
import { checkCount, countAt, countWide, type ModuleShape, readTagParams } from "./shape.ts";
import { Ways } from "./ways.ts";

const { immediates, heights, weights } = ops.PLAIN;
const BR_TABLE_FUEL = 2;
/** Most that an arm that ends in a trap may cost to go free: a call of the host, and what it is told. */
const DOOMED_FUEL = 300;

/**
 * Walks the instructions of function bodies and fills the plan. It trusts nothing: every index that the inserted code could
 * make valid by accident (locals, globals, types, labels) is checked against what the module itself has. All else is copied as
 * it is, so what was invalid stays invalid.
 */
export class BodyDecoder {
  /** Whether it calls anything: only then can it be part of a recursion. */
  calls = false;
  /** What callers have to do about the counter. */
  noise = QUIET;
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
  readonly #paid: PaidEntries;
  readonly #frames = new Frames();
  readonly #loops: Loops;
  readonly #ways: Ways;
  #reader: ByteReader;
  #height = 0;
  #locals = 0;
  /** Where a call is followed by a trap. */
  #doomedAt = -1;

  constructor(shape: ModuleShape, plan: Plan, paid: PaidEntries) {
    this.#shape = shape;
    this.#plan = plan;
    this.#loops = new Loops(plan, this.#frames);
    this.#ways = new Ways(plan, this.#frames);
    this.#paid = paid;
    this.#reader = new ByteReader(shape.bytes, 0, 0);
  }

  /** Decodes the instructions from `start` to `end`. Returns the segment of the entry. Throws `MeterError`. */
  decode(start: number, end: number, locals: number, results: number, isPaid: boolean): number {
    this.calls = this.catches = this.leavesEarly = false;
    this.noise = QUIET;
    this.heightMax = this.#height = 0;
    this.#locals = locals;
    this.#doomedAt = -1;
    const entry = this.#plan.begin(isPaid);
    this.#loops.begin(entry, isPaid);
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
        case ops.IMM_8_BYTES:
          at += opcode === ops.F32_CONST ? 4 : 8;
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

  #special(opcode: number): void {
    const plan = this.#plan;
    plan.cost += weights[opcode] as number;
    this.#height += heights[opcode] as number;
    if (opcode <= 0x06 || opcode === 0x0b || opcode === 0x1f) this.#structure(opcode);
    else if (opcode >= 0x0c && opcode <= 0x13) this.#jump(opcode);
    else if (opcode < 0x1a) this.#exception(opcode);
    else this.#rare(opcode);
  }

  #structure(opcode: number): void {
    switch (opcode) {
      case 0x00:
        this.#dieInTrap();
        break;
      case 0x02:
        this.#push(FRAME_BLOCK, readBlockType(this.#shape, this.#reader));
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
        this.#push(FRAME_TRY, readBlockType(this.#shape, this.#reader));
        break;
      case 0x0b:
        this.#end();
        break;
      default:
        this.#enterTryTable();
    }
  }

  #jump(opcode: number): void {
    const reader = this.#reader;
    const plan = this.#plan;
    switch (opcode) {
      case 0x0c: {
        const opcodeAt = reader.at - 1;
        const target = this.#branch(reader.u32(), this.#frames.top);
        this.#loops.exit(target, opcodeAt);
        this.#die();
        this.#ways.arrive(target);
        break;
      }
      case 0x0d:
        this.#branchIf();
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
        this.#catch(readTagParams(this.#shape, this.#reader));
        break;
      case 0x18:
        this.#delegate();
        break;
      case 0x19:
        this.#catch(0);
        break;
      default:
        this.#throw(opcode);
    }
  }

  #throw(opcode: number): void {
    if (opcode < 0x08 || opcode > 0x0a) throw refuseOpcode(opcode);
    this.#noteEscape(this.#reader.at - 1);
    if (opcode === 0x08) readTagParams(this.#shape, this.#reader);
    else if (opcode === 0x09) this.#frames.target(this.#reader.u32(), this.#frames.top);
    this.#die();
  }

  #rare(opcode: number): void {
    const reader = this.#reader;
    switch (opcode) {
      case 0x1c:
        readSelectType(reader);
        this.#height -= 2;
        break;
      case 0x25:
      case 0x26:
        if (opcode === 0x26) this.#plan.touch(reader.at - 1);
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
        noteInstructionReference(this.#shape, reader.u32());
        break;
      case 0xfc:
      case 0xfd:
        this.#prefixed(opcode);
        break;
      default:
        throw refuseOpcode(opcode);
    }
  }

  /** Here something is called or thrown that does not come back, or leaves the counter as it is when it does. */
  #noteEscape(opcodeAt: number): void {
    this.noise = Math.max(this.noise, ESCAPES);
    this.#loops.exit(OUTSIDE, opcodeAt);
  }

  /**
   * Compilers end a failed check so: they call what reports it, then trap. Such an arm is not charged for, if it is cheap: the
   * trap ends everything, and of a guest that trapped all fuel counts as used. Else every function with a check would use the
   * counter, and every loop that calls one.
   */
  #dieInTrap(): void {
    const plan = this.#plan;
    if (this.#doomedAt === this.#reader.at - 1 && this.#shape.tagTypes.length === 0) plan.forgive(DOOMED_FUEL);
    else this.#loops.exit(OUTSIDE, this.#reader.at - 1);
    this.#die();
  }

  #branchIf(): void {
    const reader = this.#reader;
    const opcodeAt = reader.at - 1;
    this.#height--;
    const target = this.#branch(reader.u32(), this.#frames.top);
    this.#loops.exit(target, opcodeAt, this.#frames.arity(target) === 0 ? reader.at - opcodeAt : 0);
    this.#plan.close();
    this.#ways.arrive(target);
    this.#plan.open(reader.at);
  }

  #push(kind: number, { params, results }: BlockShape): void {
    countAt(this.#shape, params + results, this.#locals + this.#height, this.#frames.top);
    this.#ways.enter(kind, Math.max(0, this.#height - params), params, results);
  }

  #enterLoop(): void {
    const opcodeAt = this.#reader.at - 1;
    const type = readBlockType(this.#shape, this.#reader);
    this.noise = NOISY;
    const movesPrologue = !this.calls && this.#loops.takePrologue();
    this.#plan.close();
    this.#push(FRAME_LOOP, type);
    this.#loops.open(opcodeAt, this.#reader.at, movesPrologue);
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
    this.#ways.nextArm(kind);
    this.#plan.open(this.#reader.at);
    this.#height = (this.#frames.bases[this.#frames.top] as number) + height;
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

  #enterTryTable(): void {
    const reader = this.#reader;
    this.catches = true;
    const type = readBlockType(this.#shape, reader);
    const outside = this.#frames.top;
    const count = reader.count();
    for (let i = 0; i < count; i++) {
      const kind = reader.byte();
      if (kind > 3) throw malformed("the module has an unknown kind of catch");
      if (kind < 2) readTagParams(this.#shape, this.#reader);
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
    if (kind === FRAME_LOOP) this.#loops.close(top, this.#reader.at, isDead);
    if (goesOn) return;
    plan.close();
    if (top === 0) return;
    if (!isDead) this.#ways.arrive(top);
    // Branches arrive with what was true at their places: sure is only what held all the time.
    if (kind !== FRAME_LOOP) plan.isCurrent = frames.current[top] === 1 && frames.calls[top] === plan.calls;
    this.#ways.leave(top, kind);
    // A loop's label is at its beginning: its end is reached by going on alone.
    if (kind === FRAME_LOOP && isDead) return;
    if (frames.caught[top] !== 0 && kind !== FRAME_LOOP) plan.addEvent(this.#reader.at, EVENT_CAUGHT, 1);
    plan.open(this.#reader.at);
  }

  /** Notes a branch. Returns the frame that it goes to. */
  #branch(label: number, from: number): number {
    const target = this.#frames.target(label, from);
    countAt(this.#shape, this.#frames.arity(target), this.#locals + this.#height, this.#frames.top);
    this.#frames.targeted[target] = 1;
    if (target === 0) this.leavesEarly = true;
    return target;
  }

  #branchTable(): void {
    const reader = this.#reader;
    const opcodeAt = reader.at - 1;
    const count = reader.count();
    checkCount(count, METER_LIMITS.branchTargets, "targets in a br_table");
    this.#plan.cost += BR_TABLE_FUEL;
    this.#plan.close();
    let outermost = this.#frames.top;
    for (let i = 0; i <= count; i++) {
      const target = this.#branch(reader.u32(), this.#frames.top);
      this.#ways.arrive(target);
      outermost = Math.min(outermost, target);
    }
    this.#loops.exit(outermost, opcodeAt);
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
    this.#plan.cost += own < 0 ? ops.WEIGHTS.hostCall : (this.#paid.fuel[own] as number);
    this.graph?.add(own < 0 ? this.graph.elsewhere : own);
    this.#leave(functionTypes[callee] as number, isTail, opcodeAt, own < 0 ? NOISY : (this.#paid.noise[own] as number));
  }

  #callIndirect(isTail: boolean): void {
    const reader = this.#reader;
    const opcodeAt = reader.at - 1;
    const type = reader.u32();
    reader.u32();
    this.#height--;
    if (this.#shape.hostInTable) this.#plan.cost += ops.WEIGHTS.hostCall;
    this.graph?.add(this.graph.elsewhere);
    this.#leave(type, isTail, opcodeAt, NOISY);
  }

  #leave(typeIndex: number, isTail: boolean, opcodeAt: number, noise: number): void {
    const type = this.#shape.types[typeIndex];
    if (type === undefined) throw malformed(`the module has no type ${typeIndex}`);
    this.calls = true;
    countWide(this.#shape, type.params + type.results);
    const { at, bytes } = this.#reader;
    if (bytes[at] === 0x00) this.#doomedAt = at;
    // Where exceptions arrive, what they passed may have used the counter. A tail call leaves whatever loop it stands in.
    if (isTail || (this.catches && noise !== QUIET) || (noise === NOISY && bytes[at] !== 0x00)) {
      this.noise = NOISY;
      this.#plan.noteCall();
    } else if (noise !== QUIET) this.#noteEscape(opcodeAt);
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
    if (opcode === 0xfc && ops.TOUCHING.has(number)) this.#plan.touch(opcodeAt);
    if (table.immediates[number] !== ops.IMM_SPECIAL) return;
    this.#bulk(opcodeAt, number === ops.TABLE_GROW ? BULK_TABLE_GROW + readGrowingTable(reader, opcodeAt) : bulkOf(number));
  }

  #bulk(opcodeAt: number, kind: number): void {
    this.noise = NOISY;
    this.#plan.bulk(opcodeAt, kind);
  }
}
