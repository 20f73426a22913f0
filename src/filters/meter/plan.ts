import { METER_LIMITS } from "../../core/limits.ts";
import { overLimit } from "./error.ts";

// What is inserted into a body, in the order of places.
/** `F -= cost of segment value / 2`, and a check: loop headers, and dear segments. Odd: the local does not hold F here, load it. */
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
/** A loop begins: `LOOP_LOADS`, `LOOP_IS_LEAF`, and the loop's frame times four. */
export const EVENT_LOOP = 6;
/** It ends. The loop's frame times two; odd: nobody comes here. */
export const EVENT_LOOP_END = 7;
/** An instruction in a loop that may leave it: see `exitValue`. */
export const EVENT_EXIT = 8;

/** A table is about to be written, or a segment dropped: noted in the module's flag. */
export const EVENT_TOUCH = 9;

/** F is loaded into the local before the loop. */
export const LOOP_LOADS = 1;
/** The loop calls nothing: inside, the counter is in the local alone. */
export const LOOP_IS_LEAF = 2;

/** Where something goes that leaves the function, or that nobody knows the target of. */
export const OUTSIDE = -1;

/**
 * Which frame something leaves for. `branchIfBytes`: a `br_if` without operands, of so many bytes, can be written as an `if`;
 * everything else (0) is preceded by what has to be done.
 */
export const exitValue = (target: number, branchIfBytes: number): number => (target + 1) * 8 + branchIfBytes;

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

/** Its charge is checked, or paid for by the callers. */
const CHECKED = 1;
const OWN = 2;
/** Most that a function spends without a check in one pass: the counter may be overdrawn by so much, once for each open frame. */
const UNCHECKED_FUEL = 4_096;

/**
 * What to insert into the functions, and what each straight piece of code (segment) costs. Every loop header is a root: there
 * the counter is checked. So is the entry of a function, unless its callers pay for it. A segment that costs `splitFuel` or more
 * is charged for where it begins; as long as a function has not spent `UNCHECKED_FUEL` that way without a check, because the
 * next root catches it: between two roots there is no way back. A cheaper one is added to the segment that dominates it in the
 * same loop, which pays for the dearest way through all that was added to it (of two arms the dearer one): never less than what
 * runs, and at most `foreignFuel` more. What costs more by itself may have as much added as it costs: so the charge is never more
 * than twice what runs, but for that little.
 *
 * The counter lives in a global; a local of each function holds its value as well, and every charge sets both, but in a loop
 * that calls nothing: there only the local is right, and whatever leaves the loop sets the global. `isCurrent` tells whether the
 * local is right at the place that is being read: a call makes it stale.
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
  /** Of what was added to each segment: the dearest way, and the dearest that leads to the place that is being read. */
  #foreign = new Int32Array(256);
  #path = new Int32Array(256);
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

  /** Event that opened the open segment. */
  #opened = 0;
  /** What the function may still spend without a check. */
  #unchecked = 0;

  constructor(
    readonly splitFuel: number,
    readonly foreignFuel: number,
    /** What touches tables and segments is noted. */
    readonly keeps: boolean,
  ) {}

  /**
   * Begins a function. `isPaid`: its entry is paid for by the callers, who know nothing of the rest: that is checked all of it.
   * Returns the segment of its entry.
   */
  begin(isPaid: boolean): number {
    this.segment = -1;
    this.cost = 0;
    this.fuel = 0;
    this.isCurrent = !isPaid;
    this.#unchecked = isPaid ? 0 : UNCHECKED_FUEL;
    const entry = this.#newSegment(CHECKED | OWN);
    this.dominator = entry;
    return entry;
  }

  /** Forgets everything from these on. */
  drop(events: number, segments: number): void {
    this.events = events;
    this.segments = segments;
  }

  /** Whether what was planned from this event on changes the function. */
  charges(from: number): boolean {
    for (let i = from; i < this.events; i++) {
      const kind = this.eventKind[i] as number;
      if (kind === EVENT_BULK || kind === EVENT_LOOP || kind === EVENT_TOUCH) return true;
      if (kind <= EVENT_CHARGE && this.costs[(this.eventValue[i] as number) >> 1] !== 0) return true;
    }
    return false;
  }

  /** After a call: the counter is not what the local says. */
  noteCall(): void {
    this.isCurrent = false;
    this.calls++;
  }

  /** An operation that pays for its length. */
  bulk(at: number, kind: number): void {
    this.addEvent(at, EVENT_BULK, kind);
    // Uses the global, and leaves both right.
    this.noteCall();
    this.isCurrent = true;
  }

  /** Something that cannot be undone by giving back memory and globals. */
  touch(at: number): void {
    if (this.keeps) this.addEvent(at, EVENT_TOUCH, 0);
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
      this.#path = larger(this.#path);
      this.#flags = largerBytes(this.#flags);
    }
    this.costs[index] = 0;
    this.#foreign[index] = 0;
    this.#path[index] = 0;
    this.#flags[index] = flags;
    this.segment = index;
    this.cost = 0;
    return index;
  }

  /** Opens a segment at `at`. */
  open(at: number): void {
    this.#opened = this.events;
    this.addEvent(at, EVENT_CHARGE, this.#newSegment(0) * 2 + (this.isCurrent ? 0 : 1));
  }

  /** Opens the segment of a loop header at `at`. */
  openRoot(at: number): void {
    this.addEvent(at, EVENT_ROOT, this.#newSegment(CHECKED | OWN) * 2);
    this.dominator = this.segment;
    this.isCurrent = true;
  }

  /** What the open segment costs is to be moved to the one that is opened next, and nothing is added to it any more. */
  takeCost(): number {
    const { cost, segment } = this;
    this.cost = 0;
    this.#foreign[segment] = this.#path[segment] = this.foreignFuel + 1;
    this.isCurrent = false;
    return cost;
  }

  /** What the open segment costs is not charged, if it is no more than this, and not a root. */
  forgive(fuelMax: number): void {
    if (this.segment < 0 || this.cost > fuelMax || ((this.#flags[this.segment] as number) & CHECKED) !== 0) return;
    this.cost = 0;
  }

  /** Moves it back after all: others may be added to it again. */
  returnCost(from: number, to: number, cost: number): void {
    this.costs[from] = (this.costs[from] as number) - cost;
    this.costs[to] = cost;
    this.#foreign[to] = this.#path[to] = 0;
  }

  /** Ends the open segment, if there is one: now it is known who is charged. */
  close(): void {
    const { segment, cost } = this;
    if (segment < 0) return;
    this.segment = -1;
    if (cost === 0) return;
    this.fuel += cost;
    if (this.fuel > METER_LIMITS.functionFuel) throw overLimit("the module has a function that costs too much in one pass");
    if (((this.#flags[segment] as number) & CHECKED) !== 0) {
      this.costs[segment] = (this.costs[segment] as number) + cost;
      return;
    }
    if (this.#add(cost)) return;
    this.costs[segment] = (this.costs[segment] as number) + cost;
    this.#flags[segment] = OWN;
    this.dominator = segment;
    if (this.#unchecked >= cost) {
      this.#unchecked -= cost;
      return;
    }
    this.#flags[segment] = OWN | CHECKED;
    this.eventKind[this.#opened] = EVENT_ROOT;
  }

  /** Adds what a segment costs to the one that dominates it, if that may be. */
  #add(cost: number): boolean {
    const { dominator, splitFuel } = this;
    const foreign = this.#foreign[dominator] as number;
    const own = splitFuel === 0 ? 0 : (this.costs[dominator] as number) - foreign;
    const path = (this.#path[dominator] as number) + cost;
    if (cost >= Math.max(splitFuel, own) || path > Math.max(this.foreignFuel, own)) return false;
    const added = Math.max(0, path - foreign);
    const isChecked = ((this.#flags[dominator] as number) & CHECKED) !== 0;
    if (!isChecked && this.#unchecked < added) return false;
    if (!isChecked) this.#unchecked -= added;
    this.costs[dominator] = (this.costs[dominator] as number) + added;
    this.#foreign[dominator] = foreign + added;
    this.#path[dominator] = path;
    return true;
  }

  /** What the dearest way to this place adds to the segment that a block began with or in. Between segments only. */
  pathOf(segment: number, dominator: number): number {
    return this.#path[this.#dominatorOf(segment, dominator)] as number;
  }

  /** The place is reached by ways of which the dearest adds so much to what dominates it; undefined: by any. */
  arrive(path: number | undefined): void {
    this.#path[this.dominator] = path ?? (this.#foreign[this.dominator] as number);
  }

  /** After a block: the segment that was open at its beginning dominates again, or the one that dominated that. */
  restoreDominator(segment: number, dominator: number): void {
    this.dominator = this.#dominatorOf(segment, dominator);
  }

  #dominatorOf(segment: number, dominator: number): number {
    return segment >= 0 && ((this.#flags[segment] as number) & OWN) !== 0 ? segment : dominator;
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
