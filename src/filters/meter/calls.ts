/**
 * Which functions have a depth guard. Every recursion has to pass one, and what lies between two guards has to be small; all
 * other functions go without, because a guard costs about as much as a short function does.
 *
 * The graph has a node for each function and one more, "elsewhere": a call through a table or of the host. From there every
 * function can be reached that is exported or whose reference is taken: the host may call back.
 */

import { larger } from "./plan.ts";

/**
 * Most slots that frames without a guard may take between two guarded ones: the upper one pays for them, run or not. With 64
 * every second function of real modules had a guard for this alone; the price of more is that a recursion nests less deep.
 */
const BETWEEN_SLOTS = 256;
/** Most slots of a chain of frames without a guard: the depth may be exceeded by so much, once. */
const CHAIN_SLOTS = 2_048;

const FRESH = 0;
const OPEN = 1;
const DONE = 2;

/** Who calls whom in a module, and how large the frames are. Functions are counted from the first that is not imported. */
export class CallGraph {
  /** The node of what the module does not know. */
  readonly elsewhere: number;
  readonly slots: Int32Array;
  /** 1: has a guard. Set for those that must have one; `placeGuards` sets the rest. */
  readonly guarded: Uint8Array;
  /** Targets of the calls of function n: from `#first[n]` to `#first[n + 1]`. */
  #targets = new Int32Array(1_024);
  #count = 0;
  readonly #first: Int32Array;
  #isEntry = new Uint8Array(0);
  #entries: number[] = [];

  constructor(functions: number) {
    this.elsewhere = functions;
    this.slots = new Int32Array(functions + 1);
    this.guarded = new Uint8Array(functions + 1);
    this.#first = new Int32Array(functions + 2);
  }

  /** Notes a call of the function that is being read. */
  add(target: number): void {
    if (this.#count >= this.#targets.length) this.#targets = larger(this.#targets);
    this.#targets[this.#count++] = target;
  }

  /** Ends function `index`. They come in order. */
  close(index: number, slots: number, isGuarded: boolean): void {
    this.slots[index] = slots;
    this.guarded[index] = isGuarded ? 1 : 0;
    this.#first[index + 1] = this.#count;
  }

  /** The functions, callees before callers, but for those that have a guard. Set by `placeGuards`. */
  order: Int32Array = new Int32Array(0);

  isEntry(index: number): boolean {
    return this.#isEntry[index] === 1;
  }

  /**
   * Returns what a call of each function takes of the depth; 0: no guard. `entries`: the functions that can be called from
   * elsewhere, in any order, also more than once; imported ones are negative.
   */
  placeGuards(entries: readonly number[]): Int32Array {
    const functions = this.elsewhere;
    this.#isEntry = new Uint8Array(functions + 1);
    for (const entry of entries) {
      if (entry >= 0 && entry < functions) this.#isEntry[entry] = 1;
    }
    this.#entries = [];
    for (let i = 0; i < functions; i++) if (this.#isEntry[i] === 1) this.#entries.push(i);
    for (const entry of this.#entries) this.add(entry);
    this.#first[functions + 1] = this.#count;
    this.#cutElsewhere();
    this.order = this.#cutCycles();
    return this.#charge(this.order);
  }

  /**
   * Cuts every way from elsewhere back to elsewhere: where it comes in, or where it goes out, whichever is fewer functions.
   */
  #cutElsewhere(): void {
    const { elsewhere, guarded } = this;
    const returns = this.#findCallers();
    const reached = this.#findReached();
    const incoming = this.#entries.filter((entry) => returns[entry] === 1);
    const outgoing: number[] = [];
    for (let i = 0; i < elsewhere; i++) {
      if (reached[i] === 1 && this.#calls(i, elsewhere)) outgoing.push(i);
    }
    for (const cut of incoming.length <= outgoing.length ? incoming : outgoing) guarded[cut] = 1;
  }

  #calls(from: number, to: number): boolean {
    const end = this.#first[from + 1] as number;
    for (let k = this.#first[from] as number; k < end; k++) if (this.#targets[k] === to) return true;
    return false;
  }

  /** Marks what is called from elsewhere, through any number of calls. */
  #findReached(): Uint8Array {
    const marks = new Uint8Array(this.elsewhere + 1);
    const open = [this.elsewhere];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      const end = this.#first[node + 1] as number;
      for (let k = this.#first[node] as number; k < end; k++) {
        const target = this.#targets[k] as number;
        if (marks[target] === 1) continue;
        marks[target] = 1;
        open.push(target);
      }
    }
    return marks;
  }

  /** Marks what calls elsewhere, through any number of calls. */
  #findCallers(): Uint8Array {
    const { elsewhere } = this;
    const first = new Int32Array(elsewhere + 2);
    for (let k = 0; k < this.#count; k++) {
      const at = (this.#targets[k] as number) + 1;
      first[at] = (first[at] as number) + 1;
    }
    for (let i = 0; i <= elsewhere; i++) first[i + 1] = (first[i + 1] as number) + (first[i] as number);
    const next = first.slice();
    const callers = new Int32Array(this.#count);
    for (let node = 0; node <= elsewhere; node++) {
      const end = this.#first[node + 1] as number;
      for (let k = this.#first[node] as number; k < end; k++) {
        const target = this.#targets[k] as number;
        const at = next[target] as number;
        callers[at] = node;
        next[target] = at + 1;
      }
    }
    const marks = new Uint8Array(elsewhere + 1);
    const open = [elsewhere];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
      const end = first[node + 1] as number;
      for (let k = first[node] as number; k < end; k++) {
        const caller = callers[k] as number;
        if (marks[caller] === 1) continue;
        marks[caller] = 1;
        open.push(caller);
      }
    }
    return marks;
  }

  /**
   * Guards the function that each remaining cycle comes back to, in a walk that goes deep first. Returns the order in which
   * functions were left: callees before callers, but for guarded ones.
   */
  #cutCycles(): Int32Array {
    const { guarded, elsewhere } = this;
    const nodes = elsewhere + 1;
    const state = new Uint8Array(nodes);
    const order = new Int32Array(nodes);
    const path = new Int32Array(nodes);
    const cursor = this.#first.slice(0, nodes);
    let ordered = 0;
    for (let root = nodes - 1; root >= 0; root--) {
      if (state[root] !== FRESH) continue;
      let depth = 0;
      path[0] = root;
      state[root] = OPEN;
      while (depth >= 0) {
        const node = path[depth] as number;
        const k = cursor[node] as number;
        if (k === this.#first[node + 1]) {
          state[node] = DONE;
          order[ordered++] = node;
          depth--;
          continue;
        }
        cursor[node] = k + 1;
        const target = this.#targets[k] as number;
        if (guarded[target] === 1) continue;
        if (state[target] === OPEN) guarded[target] = 1;
        else if (state[target] === FRESH) {
          state[target] = OPEN;
          path[++depth] = target;
        }
      }
    }
    return order;
  }

  /** Guards what makes chains of unguarded frames too long, and tells what each guarded one pays. */
  #charge(order: Int32Array): Int32Array {
    const { guarded, slots, elsewhere } = this;
    const nodes = elsewhere + 1;
    // The longest chain below each function that ends in a guarded one (-1: there is none), and the longest at all; with its own frame.
    const between = new Int32Array(nodes);
    const chains = new Int32Array(nodes);
    const takes = new Int32Array(nodes);
    for (const node of order) {
      let below = -1;
      let chain = 0;
      const end = this.#first[node + 1] as number;
      for (let k = this.#first[node] as number; k < end; k++) {
        const target = this.#targets[k] as number;
        if (guarded[target] === 1) {
          below = Math.max(below, 0);
          continue;
        }
        below = Math.max(below, between[target] as number);
        chain = Math.max(chain, chains[target] as number);
      }
      const own = slots[node] as number;
      between[node] = below < 0 ? -1 : below + own;
      chains[node] = chain + own;
      const isLong = (between[node] as number) > BETWEEN_SLOTS || (chains[node] as number) > CHAIN_SLOTS;
      if (isLong && node !== elsewhere) guarded[node] = 1;
      takes[node] = own + Math.max(below, 0);
    }
    for (let i = 0; i < nodes; i++) if (guarded[i] === 0) takes[i] = 0;
    return takes;
  }
}
