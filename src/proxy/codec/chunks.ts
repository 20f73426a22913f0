import type { Bytes } from "../../core/bytes.ts";
import { Failure } from "../../core/failure.ts";
import { CR, VALUE as ESCAPABLE, HEX, LF, QUOTED, TOKEN } from "./chars.ts";

/** What a step of the decoder found. */
export const CHUNK = { more: 0, data: 1, last: 2, failed: 3 } as const;

// States within the framing (RFC 9112 §7.1). No white space is allowed anywhere but in quoted strings.
const SIZE = 0;
const SIZE_LF = 1;
const DATA = 2;
const DATA_CR = 3;
const DATA_LF = 4;
const NAME_START = 5;
const NAME = 6;
const VALUE_START = 7;
const VALUE = 8;
const QUOTE = 9;
const ESCAPE = 10;
const QUOTE_END = 11;

const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const DOUBLE_QUOTE = 0x22;
const BACKSLASH = 0x5c;

const SIZE_DIGITS = 16;

/** Takes the framing off a chunked body, up to the line of the last chunk; trailers are the codec's. */
export class ChunkDecoder {
  #state = SIZE;
  #digits = 0;
  /** Size of the chunk being announced, then what is left of it. */
  #left = 0;
  #total = 0;
  #extensionBytes = 0;
  /** After `data`: where it is. */
  dataFrom = 0;
  dataTo = 0;
  failure: Failure | undefined = undefined;

  reset(): void {
    this.#state = SIZE;
    this.#digits = 0;
    this.#left = 0;
    this.#total = 0;
    this.#extensionBytes = 0;
    this.failure = undefined;
  }

  /** Position behind what the last step consumed. */
  at = 0;

  /** Goes on at `from` until there is a piece of data, the end, an error, or no more bytes. */
  step(bytes: Bytes, from: number, bodyMax: number, extensionMax: number): number {
    const end = bytes.byteLength;
    let at = from;
    while (at < end) {
      if (this.#state === DATA) {
        this.dataFrom = at;
        at = Math.min(end, at + this.#left);
        this.dataTo = at;
        this.#left -= at - this.dataFrom;
        if (this.#left === 0) this.#state = DATA_CR;
        this.at = at;
        return CHUNK.data;
      }
      const byte = bytes[at++] as number;
      const failure = this.#take(byte, extensionMax);
      if (failure !== undefined) return this.#fail(failure, at);
      if (this.#state !== DATA) continue;
      // The size line is over.
      this.#total += this.#left;
      if (this.#total > bodyMax) return this.#fail(new Failure("body_too_large", "chunked body"), at);
      this.#digits = 0;
      if (this.#left > 0) continue;
      this.at = at;
      return CHUNK.last;
    }
    this.at = at;
    return CHUNK.more;
  }

  #fail(failure: Failure, at: number): number {
    this.failure = failure;
    this.at = at;
    return CHUNK.failed;
  }

  #take(byte: number, extensionMax: number): Failure | undefined {
    switch (this.#state) {
      case SIZE:
        return this.#takeSize(byte);
      case SIZE_LF:
        if (byte !== LF) return new Failure("bad_chunk", "no LF behind the chunk size");
        this.#state = DATA;
        return undefined;
      case DATA_CR:
        if (byte !== CR) return new Failure("bad_chunk", "no CR behind the chunk");
        this.#state = DATA_LF;
        return undefined;
      case DATA_LF:
        if (byte !== LF) return new Failure("bad_chunk", "no LF behind the chunk");
        this.#state = SIZE;
        this.#left = 0;
        return undefined;
      default:
        if (byte !== CR && ++this.#extensionBytes > extensionMax) return new Failure("bad_chunk", "chunk extensions too long");
        return this.#takeExtension(byte);
    }
  }

  #takeSize(byte: number): Failure | undefined {
    const digit = HEX[byte] as number;
    if (digit !== 255) {
      this.#left = this.#left * 16 + digit;
      if (++this.#digits > SIZE_DIGITS) return new Failure("bad_chunk", "chunk size too long");
      return this.#left <= Number.MAX_SAFE_INTEGER ? undefined : new Failure("bad_chunk", "chunk size too large");
    }
    if (this.#digits === 0) return new Failure("bad_chunk", "no chunk size");
    if (byte === CR) this.#state = SIZE_LF;
    else if (byte === SEMICOLON) this.#state = NAME_START;
    else return new Failure("bad_chunk", "malformed chunk size");
    return undefined;
  }

  /** chunk-ext (RFC 9112 §7.1.1): checked, counted, thrown away. */
  #takeExtension(byte: number): Failure | undefined {
    const next = nextInExtension(this.#state, byte);
    if (next < 0) return new Failure("bad_chunk", "malformed chunk extension");
    this.#state = next;
    return undefined;
  }
}

function nextInExtension(state: number, byte: number): number {
  switch (state) {
    case NAME_START:
      return TOKEN[byte] === 1 ? NAME : -1;
    case NAME:
      if (TOKEN[byte] === 1) return NAME;
      return byte === EQUALS ? VALUE_START : afterExtension(byte);
    case VALUE_START:
      if (byte === DOUBLE_QUOTE) return QUOTE;
      return TOKEN[byte] === 1 ? VALUE : -1;
    case VALUE:
      return TOKEN[byte] === 1 ? VALUE : afterExtension(byte);
    case QUOTE:
      if (QUOTED[byte] === 1) return QUOTE;
      if (byte === DOUBLE_QUOTE) return QUOTE_END;
      return byte === BACKSLASH ? ESCAPE : -1;
    case ESCAPE:
      // quoted-pair (RFC 9110 §5.6.4) may hide what a field value may hold.
      return ESCAPABLE[byte] === 1 ? QUOTE : -1;
    default:
      return afterExtension(byte);
  }
}

function afterExtension(byte: number): number {
  if (byte === CR) return SIZE_LF;
  return byte === SEMICOLON ? NAME_START : -1;
}
