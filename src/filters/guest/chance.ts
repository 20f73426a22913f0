import { fillRandom, SeededRng } from "../../core/rng.ts";
import type { Grants } from "./grants.ts";
import type { Restorable } from "./isolation.ts";

/** Seed of what is no secret and no surprise. */
const FIXED_SEED = 0x5e1;

/**
 * What an instance gets for random numbers. Runtimes of languages want some before they start, for their hash tables; without
 * the capability `random` they get a sequence that is the same in every instance. What comes later may be for a key or a token,
 * and must not be foretold: then there is an error instead.
 */
export class GuestChance implements Restorable {
  #fixed = new SeededRng(FIXED_SEED);
  #kept = this.#fixed;
  #isStarting = true;

  constructor(readonly grants: Grants) {}

  /** What was drawn while it started came from nowhere else: another instance must not begin with the same. */
  hasDrawn = false;

  /** Goes on where another one stands. */
  follow(other: GuestChance): void {
    this.#fixed = other.#fixed.copy();
  }

  /** The instance is configured. */
  endStart(): void {
    this.#isStarting = false;
  }

  keep(): void {
    this.#kept = this.#fixed.copy();
  }
  restore(): void {
    this.#fixed = this.#kept.copy();
  }

  /** Fills at most 65,536 bytes; false: not granted. */
  fill(target: Uint8Array<ArrayBuffer>): boolean {
    if (this.grants.capabilities.random) {
      this.hasDrawn = true;
      fillRandom(target);
      return true;
    }
    if (!this.#isStarting) return this.grants.may("random");
    this.#fillFixed(target);
    return true;
  }

  /** For what nobody may rely on by its contract. */
  fillInsecure(target: Uint8Array<ArrayBuffer>): void {
    if (this.grants.capabilities.random) {
      this.hasDrawn = true;
      fillRandom(target);
    } else this.#fillFixed(target);
  }

  #fillFixed(target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.#fixed.below(256);
  }
}
