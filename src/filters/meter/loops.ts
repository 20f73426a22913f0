import { FRAME_LOOP, type Frames } from "./frames.ts";
import {
  EVENT_CAUGHT,
  EVENT_EXIT,
  EVENT_LOOP,
  EVENT_LOOP_END,
  exitValue,
  LOOP_IS_LEAF,
  LOOP_LOADS,
  OUTSIDE,
  type Plan,
} from "./plan.ts";

/** A function that costs no more before its first loop may leave that to the loop's header. */
const PROLOGUE_FUEL = 16;
/** No prologue is moved. */
const NONE = -1;

/**
 * The loops of a function. One that calls nothing keeps the counter in the local: a store for each round made short loops up to
 * a half slower. Whether it does is known at its end; until then everything is noted that may leave it.
 */
export class Loops {
  #open = 0;
  #firstEvent = 0;
  #entry = 0;
  /** Whether what the function costs before its first loop may be moved into that; what was, and from which loop it has to go back. */
  #movesPrologue = false;
  #prologue = 0;
  #prologueLoop = NONE;

  constructor(
    readonly plan: Plan,
    readonly frames: Frames,
  ) {}

  /** A function begins; its entry has this segment. */
  begin(entry: number, isPaid: boolean): void {
    this.#open = 0;
    this.#entry = entry;
    this.#firstEvent = this.plan.events;
    this.#movesPrologue = !isPaid && this.plan.splitFuel > 0;
    this.#prologueLoop = NONE;
  }

  /**
   * For a loop that a function begins with, so that its header is reached whenever the function is entered: if it calls anything,
   * it pays for the little before it as well, and the entry for nothing. (Functions of Go begin so, to be resumed in the middle.)
   */
  takePrologue(): boolean {
    const { plan } = this;
    if (!this.#movesPrologue || plan.events !== this.#firstEvent || plan.segment < 0 || plan.cost > PROLOGUE_FUEL) return false;
    this.#movesPrologue = false;
    this.#prologue = plan.takeCost();
    return true;
  }

  /** The loop of the innermost frame begins. `headerAt`: behind its type. */
  open(opcodeAt: number, headerAt: number, hasPrologue: boolean): void {
    const { plan, frames } = this;
    const { top } = frames;
    // Three events, found again from here.
    frames.events[top] = plan.events;
    plan.addEvent(opcodeAt, EVENT_LOOP, top * 4 + (plan.isCurrent ? 0 : LOOP_LOADS));
    plan.addEvent(headerAt, EVENT_CAUGHT, 0);
    plan.openRoot(headerAt);
    this.#open++;
    if (!hasPrologue) return;
    plan.cost = this.#prologue;
    this.#prologueLoop = top;
  }

  /**
   * The loop of frame `top` ends: now it is known whether it calls anything. If so, its header loads the counter, and nobody does
   * before it; if not, the counter is in the local until the loop is left. `isDead`: its end is not reached.
   */
  close(top: number, at: number, isDead: boolean): void {
    const { plan, frames } = this;
    this.#open--;
    const event = frames.events[top] as number;
    const root = plan.eventValue[event + 2] as number;
    const hasPrologue = top === this.#prologueLoop;
    if (hasPrologue) this.#prologueLoop = NONE;
    if (plan.calls !== frames.calls[top]) {
      plan.eventValue[event] = 0;
      plan.eventValue[event + 2] = root | 1;
      return;
    }
    if (hasPrologue) plan.returnCost(root >> 1, this.#entry, this.#prologue);
    plan.eventValue[event] = (plan.eventValue[event] as number) | LOOP_IS_LEAF;
    plan.addEvent(at, EVENT_LOOP_END, top * 2 + (isDead ? 1 : 0));
  }

  /** An instruction at `at` may leave a loop for that frame. `branchIfBytes`: it is a `br_if` without operands, of so many bytes. */
  exit(target: number, at: number, branchIfBytes = 0): void {
    if (this.#open === 0) return;
    // The innermost loop itself.
    if (target !== OUTSIDE && target === this.frames.top && this.frames.kinds[target] === FRAME_LOOP) return;
    this.plan.addEvent(at, EVENT_EXIT, exitValue(target, branchIfBytes));
  }
}
