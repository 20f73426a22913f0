import { getRandomValues } from "node:crypto";

/** Chance, injected, so that balancing, jitter and simulations replay from a seed. Not for secrets. */
export interface Rng {
  /** A number in [0, 1). */
  next(): number;
  /** An integer in [0, bound); `bound` ≥ 1. */
  below(bound: number): number;
}

/** xoshiro128** (Blackman, Vigna 2018): fast, small, replayable. */
export class SeededRng implements Rng {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    // splitmix32 spreads a small seed over the state, which must not be all zero.
    let state = seed >>> 0;
    const split = (): number => {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = state ^ (state >>> 16);
      mixed = Math.imul(mixed, 0x21f0aaad);
      mixed ^= mixed >>> 15;
      mixed = Math.imul(mixed, 0x735a2d97);
      return (mixed ^ (mixed >>> 15)) >>> 0;
    };
    this.#a = split();
    this.#b = split();
    this.#c = split();
    this.#d = split() | 1;
  }

  /** Another one that goes on from here. */
  copy(): SeededRng {
    const copy = new SeededRng(0);
    copy.#a = this.#a;
    copy.#b = this.#b;
    copy.#c = this.#c;
    copy.#d = this.#d;
    return copy;
  }

  #word(): number {
    const scrambled = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = rotateLeft(this.#d, 11);
    return scrambled;
  }

  next(): number {
    return this.#word() / 0x1_0000_0000;
  }
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }
}

const rotateLeft = (value: number, bits: number): number => (value << bits) | (value >>> (32 - bits));

/** A generator seeded from the system: for the product, where nothing has to replay. */
export function systemRng(): Rng {
  return new SeededRng(getRandomValues(new Uint32Array(1))[0] ?? 1);
}

/** 16 bytes from the system's CSPRNG as 32 hex digits: request ids, trace ids. Drawn in batches: one system call per 256 ids. */
export class IdSource {
  /** Digits as bytes: a text cut from a long text would keep that alive, and be copied when it is first looked at. */
  #pool: Buffer = Buffer.alloc(0);
  #at = 0;

  next(): string {
    if (this.#at >= this.#pool.length) {
      this.#pool = Buffer.from(Buffer.from(getRandomValues(new Uint8Array(4096))).toString("hex"), "latin1");
      this.#at = 0;
    }
    const id = this.#pool.latin1Slice(this.#at, this.#at + 32);
    this.#at += 32;
    return id;
  }
}

/** Fills at most 65,536 bytes from the system's CSPRNG. */
export function fillRandom(target: Uint8Array<ArrayBuffer>): void {
  getRandomValues(target);
}
