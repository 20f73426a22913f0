import type { Bytes } from "../../core/bytes.ts";
import { CR, HTAB, LF } from "./chars.ts";

/** What the scan of a section's bytes found. */
export const SCAN = { more: 0, line: 1, complete: 2, badByte: 3, lineTooLong: 4, sectionTooLong: 5, tooManyLines: 6 } as const;

/** Bounds of the section at hand. */
export interface ScanLimits {
  /** The first line (a head has one, trailers do not: 0). */
  readonly firstLineBytes: number;
  readonly lineBytes: number;
  /** All lines but the first, with their CRLFs. */
  readonly sectionBytes: number;
  /** Lines without the first. */
  readonly lines: number;
}

const INITIAL_BYTES = 2048;

/**
 * Finds the lines of a head or of trailers. It reads four bytes at a time and stops only at control characters: that is
 * where lines end and where everything is that no line may hold (bare CR, bare LF, NUL, DEL). The scan goes on where it
 * stopped, so that a head that comes byte by byte costs no more, and gives the same answer, as one that comes whole.
 */
export class LineScanner {
  #bytes: Buffer = Buffer.from(new ArrayBuffer(INITIAL_BYTES));
  #words = new Int32Array(this.#bytes.buffer, 0, INITIAL_BYTES >> 2);
  #view = new DataView(this.#bytes.buffer);
  /** Bytes held. */
  length = 0;
  /** First byte not scanned. */
  at = 0;
  #lineStart = 0;
  /** Complete lines; the empty last one does not count. */
  lines = 0;
  /** Position of the CR of each line. */
  ends = new Int32Array(128);
  #sectionStart = 0;

  get bytes(): Buffer {
    return this.#bytes;
  }
  /** The same bytes. */
  get view(): DataView {
    return this.#view;
  }

  reset(): void {
    this.length = 0;
    this.at = 0;
    this.#lineStart = 0;
    this.lines = 0;
    this.#sectionStart = 0;
  }

  /** Takes `bytes[start, end)` behind what is held. */
  append(bytes: Bytes, start: number, end: number): void {
    const needed = this.length + end - start;
    if (needed > this.#bytes.length) {
      let size = this.#bytes.length * 2;
      while (size < needed) size *= 2;
      const grown = Buffer.from(new ArrayBuffer(size));
      grown.set(this.#bytes.subarray(0, this.length));
      this.#bytes = grown;
      this.#words = new Int32Array(grown.buffer, 0, size >> 2);
      this.#view = new DataView(grown.buffer);
    }
    if (start === 0 && end === bytes.byteLength) this.#bytes.set(bytes, this.length);
    else this.#bytes.set(bytes.subarray(start, end), this.length);
    this.length = needed;
  }

  /** Takes over what another scanner holds and where it stands. */
  adopt(other: LineScanner): void {
    this.reset();
    this.append(other.#bytes, 0, other.length);
    this.at = other.at;
    this.#lineStart = other.#lineStart;
    this.lines = other.lines;
    this.ends = other.ends.slice();
    this.#sectionStart = other.#sectionStart;
  }

  /** Scans on. `line`: the first line is complete; call again. Stays on `more` until bytes are appended. */
  scan(limits: ScanLimits): number {
    const words = this.#words;
    const bytes = this.#bytes;
    const { length } = this;
    const stop = length >> 2;
    let { at } = this;
    for (;;) {
      // Whole words without a control character (the exact test follows; carries only make it look twice).
      if ((at & 3) === 0) {
        let word = at >> 2;
        while (word < stop) {
          const four = words[word] as number;
          if ((((four - 0x20202020) | (four + 0x01010101)) & ~four & -0x7f7f7f80) !== 0) break;
          word++;
        }
        at = word << 2;
      }
      if (at >= length) {
        this.at = at;
        return this.#overLimit(limits, at) || SCAN.more;
      }
      const byte = bytes[at] as number;
      if ((byte >= 0x20 && byte !== 0x7f) || byte === HTAB) {
        at++;
        continue;
      }
      this.at = at;
      const over = this.#overLimit(limits, at);
      if (over !== 0) return over;
      if (byte !== CR) return SCAN.badByte;
      if (at + 1 >= length) return SCAN.more;
      if (bytes[at + 1] !== LF) return SCAN.badByte;
      const verdict = this.#endLine(limits);
      if (verdict !== SCAN.more) return verdict;
      at += 2;
    }
  }

  #endLine(limits: ScanLimits): number {
    const end = this.at;
    this.at = end + 2;
    const empty = end === this.#lineStart;
    this.#lineStart = this.at;
    const isFirst = this.lines === 0 && limits.firstLineBytes > 0;
    if (empty && !isFirst) return SCAN.complete;
    if (isFirst) this.#sectionStart = this.at;
    if (this.lines >= this.ends.length) this.#growEnds();
    this.ends[this.lines++] = end;
    if (isFirst) return SCAN.line;
    if (this.lines - (limits.firstLineBytes > 0 ? 1 : 0) > limits.lines) return SCAN.tooManyLines;
    return SCAN.more;
  }

  #growEnds(): void {
    const grown = new Int32Array(this.ends.length * 2);
    grown.set(this.ends);
    this.ends = grown;
  }

  /** Too much came before `at` for the line or the section: then what stands at `at` no longer matters. */
  #overLimit(limits: ScanLimits, at: number): number {
    const isFirst = this.lines === 0 && limits.firstLineBytes > 0;
    if (at - this.#lineStart > (isFirst ? limits.firstLineBytes : limits.lineBytes)) return SCAN.lineTooLong;
    if (!isFirst && at - this.#sectionStart > limits.sectionBytes) return SCAN.sectionTooLong;
    return 0;
  }
}
