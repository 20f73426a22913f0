import type { Bytes } from "../core/bytes.ts";
import { ARRIVAL_LIMITS } from "../core/limits.ts";

/** After so many polls in a row that brought one piece each, the next are told at once: waiting for the end of a poll costs 10 us. */
const LONE_POLLS = 32;
/** One in so many of those waits all the same, to see whether polls bring more again. Odd: with two in each poll it must not be the second always. */
const LOOK_EVERY = 17;

/** Of one socket, which may have more of them than all others may. */
const PIECES_MAX = 2 * ARRIVAL_LIMITS.pieces;

/** A socket whose data can wait for that of others. */
export interface Arriving {
  /** How many pieces of its data wait here. Nothing that came after them may be told before them: `handOn` first. */
  arrivals: number;
  arrive(bytes: Bytes): void;
}

/**
 * What one poll of the event loop brought, socket by socket, is handed on when the last has been read: the kernel's code then runs for
 * all of them in a row, ours for all of them in a row, and (`join`) what they made is written in a row. Each of the three would
 * otherwise throw the others out of the processor's caches with every request (docs/adr/0010).
 *
 * A batch is handed on early when it is large, so that nobody waits long and memory stays bounded.
 */
export class Arrivals {
  readonly #sockets: (Arriving | undefined)[] = [];
  readonly #pieces: (Bytes | undefined)[] = [];
  /** `[#next, #count)` of both lists waits. */
  #next = 0;
  #count = 0;
  #bytes = 0;
  #running = false;
  #armed = false;
  readonly #ends: (() => void)[] = [];
  /** Since the end of the last poll. */
  #gathered = 0;
  /** Polls in a row that brought one piece: nobody else's is to be expected with the next. */
  #lonePolls = 0;
  #toldAtOnce = 0;

  /** `bytes` are kept until they are handed on. */
  add(socket: Arriving, bytes: Bytes): void {
    if (this.#lonePolls >= LONE_POLLS && this.#count === 0 && ++this.#toldAtOnce % LOOK_EVERY !== 0) {
      socket.arrive(bytes);
      return;
    }
    this.#gathered++;
    // Not as soon as it is large enough: what comes next may be the end of the socket whose data came last, and belongs to them.
    if (this.#isLarge && this.#sockets[this.#count - 1] !== socket) this.handOn();
    const at = this.#count++;
    this.#sockets[at] = socket;
    this.#pieces[at] = bytes;
    socket.arrivals++;
    this.#bytes += bytes.byteLength;
    if (bytes.byteLength >= ARRIVAL_LIMITS.bytes || this.#count >= PIECES_MAX) this.handOn();
    else if (!this.#armed) this.#arm();
  }

  get #isLarge(): boolean {
    return this.#count >= ARRIVAL_LIMITS.pieces || this.#bytes >= ARRIVAL_LIMITS.bytes;
  }

  /** Runs `action` when all of the batch has been handed on. False, and nothing will run: none is being handed on. */
  join(action: () => void): boolean {
    if (!this.#running) return false;
    this.#ends.push(action);
    return true;
  }

  /**
   * Hands on what waits, in the order in which it came, now. `last` follows within the batch: before what joined runs, so that nobody
   * takes a connection for whole of which it is known that it has ended. False, and nothing happens, while that is already under way.
   */
  handOn(last?: () => void): boolean {
    if (this.#running) return false;
    this.#running = true;
    try {
      while (this.#next < this.#count) {
        const at = this.#next++;
        const socket = this.#sockets[at] as Arriving;
        const bytes = this.#pieces[at] as Bytes;
        this.#sockets[at] = undefined;
        this.#pieces[at] = undefined;
        this.#bytes -= bytes.byteLength;
        socket.arrivals--;
        socket.arrive(bytes);
      }
      this.#next = 0;
      this.#count = 0;
      last?.();
    } finally {
      this.#running = false;
      // One of them threw, with nobody to blame. If the process survives that, the others must not wait for ever.
      if (this.#count > 0 && !this.#armed) this.#arm();
      this.#end();
    }
    return true;
  }

  /** Each once, also when one of them throws: those behind it run after the next batch. */
  #end(): void {
    for (let action = this.#ends.shift(); action !== undefined; action = this.#ends.shift()) action();
  }

  /** Bun runs immediates between one poll and the next, however many timers are due, but those first: who owns one asks for `handOn`. */
  #arm(): void {
    this.#armed = true;
    setImmediate(this.#fire);
  }

  readonly #fire = (): void => {
    this.#armed = false;
    this.#lonePolls = this.#gathered === 1 ? this.#lonePolls + 1 : 0;
    this.#gathered = 0;
    this.handOn();
  };
}

/** Of this thread's event loop. */
export const ARRIVALS = new Arrivals();
