import { METER_LIMITS } from "../../core/limits.ts";
import { malformed, overLimit } from "./error.ts";
import { larger, largerBytes } from "./plan.ts";

export const FRAME_FUNCTION = 0;
export const FRAME_BLOCK = 1;
export const FRAME_LOOP = 2;
/** `if`, before `else` and after it. */
export const FRAME_IF = 3;
export const FRAME_ELSE = 4;
/** `try` of the older exceptions, before the first `catch` and after it. */
export const FRAME_TRY = 5;
export const FRAME_CATCH = 6;

/** The open blocks of a function, outermost (the function itself) first. Columns, as in Plan. */
export class Frames {
  /** Index of the innermost one; -1: the function has ended. */
  top = -1;
  kinds = new Uint8Array(256);
  /** Height of the operand stack below the block's parameters. */
  bases = new Int32Array(256);
  params = new Int32Array(256);
  results = new Int32Array(256);
  /** Segment that was open at its beginning, and what dominated that. */
  segments = new Int32Array(256);
  dominators = new Int32Array(256);
  /** For an `if`: what the dearest way to it adds to its dominator; and that of all ways that reach its end so far (-1: none). */
  paths = new Int32Array(256);
  arrivals = new Int32Array(256);
  /** Whether a branch goes to its label. */
  targeted = new Uint8Array(256);
  /** Whether an exception may arrive at its label. */
  caught = new Uint8Array(256);
  /** For a loop: index of the event that handles such an arrival at its header. */
  events = new Int32Array(256);
  /** Whether the local held the counter at its beginning, and the calls before it. */
  current = new Uint8Array(256);
  calls = new Int32Array(256);

  push(kind: number, base: number, params: number, results: number, segment: number, dominator: number): void {
    const top = ++this.top;
    if (top > METER_LIMITS.nesting) throw overLimit(`the module has blocks that are nested deeper than ${METER_LIMITS.nesting}`);
    if (top >= this.kinds.length) this.#grow();
    this.kinds[top] = kind;
    this.bases[top] = base;
    this.params[top] = params;
    this.results[top] = results;
    this.segments[top] = segment;
    this.dominators[top] = dominator;
    this.paths[top] = 0;
    this.arrivals[top] = -1;
    this.targeted[top] = 0;
    this.caught[top] = 0;
  }

  /** Operands that a branch to a frame takes along. */
  arity(target: number): number {
    return (this.kinds[target] === FRAME_LOOP ? this.params[target] : this.results[target]) as number;
  }

  /** The frame that a label means, seen from frame `from`. Throws when there is none. */
  target(label: number, from: number): number {
    if (label > from) throw malformed(`the module branches to a label that is not there, ${label}`);
    return from - label;
  }

  #grow(): void {
    this.kinds = largerBytes(this.kinds);
    this.bases = larger(this.bases);
    this.params = larger(this.params);
    this.results = larger(this.results);
    this.segments = larger(this.segments);
    this.dominators = larger(this.dominators);
    this.paths = larger(this.paths);
    this.arrivals = larger(this.arrivals);
    this.targeted = largerBytes(this.targeted);
    this.caught = largerBytes(this.caught);
    this.events = larger(this.events);
    this.current = largerBytes(this.current);
    this.calls = larger(this.calls);
  }
}
