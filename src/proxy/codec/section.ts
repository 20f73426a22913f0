import type { Bytes } from "../../core/bytes.ts";
import { LineScanner, SCAN, type ScanLimits } from "./scan.ts";

const FIRST_BLOCK_BYTES = 2048;

/** Sections that come whole are read here: one buffer for all connections, because nothing is left in it between two calls. */
const shared = new LineScanner();

/** Collects the section (a head, trailers) at the front of what a connection receives, over as many pieces as it takes. */
export class SectionReader {
  /** What came so far of a section that did not come whole. */
  #held: LineScanner | undefined = undefined;
  #active: LineScanner = shared;
  /** Where in the current bytes the scanner's first byte is; negative when it came earlier. */
  #origin = 0;
  #from = 0;
  #block = FIRST_BLOCK_BYTES;

  /** Some bytes of a section are held. */
  get partial(): boolean {
    return this.#held !== undefined;
  }

  get scanner(): LineScanner {
    return this.#active;
  }

  /** Begins to read `bytes` at `at`. */
  begin(at: number): void {
    if (this.#held === undefined) {
      shared.reset();
      this.#active = shared;
    } else {
      this.#active = this.#held;
    }
    this.#origin = at - this.#active.length;
    this.#from = at;
    this.#block = FIRST_BLOCK_BYTES;
  }

  /** Scans on; `more` only when all of `bytes` was taken. */
  scan(bytes: Bytes, limits: ScanLimits): number {
    for (;;) {
      const verdict = this.#active.scan(limits);
      if (verdict !== SCAN.more || this.#from >= bytes.byteLength) return verdict;
      const to = Math.min(bytes.byteLength, this.#from + this.#block);
      this.#active.append(bytes, this.#from, to);
      this.#from = to;
      this.#block *= 4;
    }
  }

  /** Keeps the unfinished section until more comes. */
  hold(): void {
    if (this.#held !== undefined) return;
    this.#held = new LineScanner();
    this.#held.adopt(shared);
  }

  /** Ends the section; returns where in the bytes the rest begins. */
  finish(): number {
    this.#held = undefined;
    return this.#origin + this.#active.at;
  }

  drop(): void {
    this.#held = undefined;
  }
}
