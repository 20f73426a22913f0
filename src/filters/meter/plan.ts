import { METER_LIMITS } from "../../core/limits.ts";
import { overLimit } from "./error.ts";

// What is inserted into a body, in the order of places.
/** `F -= cost of segment value / 2`, and a check: loop headers. Odd: the local does not hold F here, load it. */
export const EVENT_ROOT = 0;
/** `F -= cost of segment value / 2`, when that is not 0. Odd: as above. */
export const EVENT_CHARGE = 1;
/** The length on the stack is paid for: `value` tells which operation. */
export const EVENT_BULK = 2;
/** A `return`, one byte: in a guarded function a branch to label `value`. */
export const EVENT_RETURN = 3;
/** Before a tail call: gives the frame back. */
export const EVENT_LEAVE = 4;
/** Where an exception arrives: the depth is set to this frame's again, when `value` is not 0. */
export const EVENT_CAUGHT = 5;
/** Before a loop: F is loaded into the local, when `value` is not 0. */
export const EVENT_LOAD = 6;

// Operations that pay for a length.
export const BULK_MEMORY = 0;
export const BULK_TABLE = 1;
export const BULK_MEMORY_GROW = 2;
/** Of table 0; table n has this and n. */
export const BULK_TABLE_GROW = 3;

/** Which of the first two an instruction behind 0xfc is. */
export function bulkOf(opcode: number): number {
  return opcode === 12 || opcode === 14 || opcode === 17 ? BULK_TABLE : BULK_MEMORY;
}

const ROOT = 1;
const OWN = 2;

/**
 * What to insert into the functions, and what each straight piece of code (segment) costs. Every function entry and loop header
 * is a root: there the counter is checked. A segment that costs `splitFuel` or more is charged for where it begins, without a
 * check, because the next root catches it: between two roots there is no way back. A cheaper one is added to the segment that
 * dominates it in the same loop, up to `foreignFuel`: the charge is an upper bound, never less than what runs.
 *
 * The counter lives in a global; a local of each function holds its value as well, and every charge sets both. So a loop that
 * calls nothing never waits for the global: with a load for each round, short loops took a third longer. `isCurrent` tells
 * whether the local is right at the place that is being read: a call makes it stale.
 *
 * Columns of numbers instead of objects: a module has millions of instructions. The plan keeps all functions, because what is
 * inserted into one depends on who calls it.
 */
export class Plan {
  events = 0;
  eventAt = new Int32Array(256);
  eventKind = new Uint8Array(256);
  eventValue = new Int32Array(256);

  segments = 0;
  costs = new Int32Array(256);
  #foreign = new Int32Array(256);
  #flags = new Uint8Array(256);

  /** The open segment; -1: what follows a branch and cannot be reached. */
  segment = -1;
  /** Cost of the open segment so far. */
  cost = 0;
  /** The segment that is charged for and dominates the open one. */
  dominator = 0;
  /** Cost of all segments of the open function. */
  fuel = 0;
  /** Whether the local of the function holds the counter. */
  isCurrent = true;
  /** Calls so far that made it stale. */
  calls = 0;

  constructor(
    readonly splitFuel: number,
    readonly foreignFuel: number,
  ) {}

  /** Begins a function. Returns the segment of its entry. */
  begin(): number {
    this.segment = -1;
    this.cost = 0;
    this.fuel = 0;
    this.isCurrent = true;
    const entry = this.#newSegment(ROOT | OWN);
    this.dominator = entry;
    return entry;
  }

  /** Forgets everything from these on. */
  drop(events: number, segments: number): void {
    this.events = events;
    this.segments = segments;
  }

  /** After a call: the counter is not what the local says. */
  noteCall(): void {
    this.isCurrent = false;
    this.calls++;
  }

  addEvent(at: number, kind: number, value: number): void {
    const index = this.events++;
    if (index >= this.eventAt.length) {
      this.eventAt = larger(this.eventAt);
      this.eventKind = largerBytes(this.eventKind);
      this.eventValue = larger(this.eventValue);
    }
    this.eventAt[index] = at;
    this.eventKind[index] = kind;
    this.eventValue[index] = value;
  }

  #newSegment(flags: number): number {
    const index = this.segments++;
    if (index >= this.costs.length) {
      this.costs = larger(this.costs);
      this.#foreign = larger(this.#foreign);
      this.#flags = largerBytes(this.#flags);
    }
    this.costs[index] = 0;
    this.#foreign[index] = 0;
    this.#flags[index] = flags;
    this.segment = index;
    this.cost = 0;
    return index;
  }

  /** Opens a segment at `at`. */
  open(at: number): void {
    this.addEvent(at, EVENT_CHARGE, this.#newSegment(0) * 2 + (this.isCurrent ? 0 : 1));
  }

  /** Opens the segment of a loop header at `at`. */
  openRoot(at: number): void {
    this.addEvent(at, EVENT_ROOT, this.#newSegment(ROOT | OWN) * 2);
    this.dominator = this.segment;
    this.isCurrent = true;
  }

  /** Ends the open segment, if there is one: now it is known who is charged. */
  close(): void {
    const { segment, cost } = this;
    if (segment < 0) return;
    this.segment = -1;
    if (cost === 0) return;
    this.fuel += cost;
    if (this.fuel > METER_LIMITS.functionFuel) throw overLimit("the module has a function that costs too much in one pass");
    if (((this.#flags[segment] as number) & ROOT) !== 0) {
      this.costs[segment] = (this.costs[segment] as number) + cost;
      return;
    }
    const foreign = (this.#foreign[this.dominator] as number) + cost;
    if (cost < this.splitFuel && foreign <= this.foreignFuel) {
      this.#foreign[this.dominator] = foreign;
      this.costs[this.dominator] = (this.costs[this.dominator] as number) + cost;
      return;
    }
    this.costs[segment] = (this.costs[segment] as number) + cost;
    this.#flags[segment] = OWN;
    this.dominator = segment;
  }

  /** After a block: the segment that was open at its beginning dominates again, or the one that dominated that. */
  restoreDominator(segment: number, dominator: number): void {
    this.dominator = segment >= 0 && ((this.#flags[segment] as number) & OWN) !== 0 ? segment : dominator;
  }
}

export function larger(from: Int32Array): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2);
  to.set(from);
  return to;
}

export function largerBytes(from: Uint8Array): Uint8Array<ArrayBuffer> {
  const to = new Uint8Array(from.length * 2);
  to.set(from);
  return to;
}
