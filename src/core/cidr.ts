import { readAddress, scratch } from "./ip.ts";
import { err, ok, type Result } from "./result.ts";

/**
 * Sets of address ranges (RFC 4632, RFC 4291), for everything that trusts a peer by its address. An IPv4-mapped IPv6 address
 * (`::ffff:10.0.0.1`) is the IPv4 address it stands for, in ranges as well as in questions.
 */

/** An address as four 32-bit words (IPv4 in the last one), or a range when `bits` < its family's width. */
interface Range {
  readonly family: 4 | 6;
  readonly words: readonly [number, number, number, number];
  /** Prefix length within the family: 0 to 32 or 0 to 128. */
  readonly bits: number;
}

function parseRange(text: string): Range | undefined {
  const slash = text.indexOf("/");
  const address = slash < 0 ? text : text.slice(0, slash);
  const family = address.includes("%") ? 0 : readAddress(address);
  if (family === 0) return undefined;
  const words: [number, number, number, number] = [
    scratch[0] as number,
    scratch[1] as number,
    scratch[2] as number,
    scratch[3] as number,
  ];
  const width = family === 4 ? 32 : 128;
  if (slash < 0) return { family, words, bits: width };
  const digits = text.slice(slash + 1);
  if (!/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  // `::ffff:10.0.0.0/104` counts the 96 bits in front.
  const bits = Number(digits) - (family === 4 && address.includes(":") ? 96 : 0);
  if (bits < 0 || bits > width) return undefined;
  return { family, words, bits };
}

const maskOf = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? 0xffffffff : (0xffffffff << (32 - bits)) >>> 0);

/** Ranges of one family, flat: per range four words and four masks. */
class RangeTable {
  readonly #table: Uint32Array;

  constructor(ranges: readonly Range[]) {
    this.#table = new Uint32Array(ranges.length * 8);
    ranges.forEach((range, index) => {
      const front = range.family === 4 ? 96 : 0;
      for (let word = 0; word < 4; word++) {
        const mask = maskOf(range.bits + front - word * 32);
        this.#table[index * 8 + word] = ((range.words[word] as number) & mask) >>> 0;
        this.#table[index * 8 + 4 + word] = mask;
      }
    });
  }

  /** Is the address in `scratch` in one of them? */
  containsScratch(): boolean {
    const table = this.#table;
    for (let at = 0; at < table.length; at += 8) {
      if (
        ((scratch[3] as number) & (table[at + 7] as number)) >>> 0 === table[at + 3] &&
        ((scratch[2] as number) & (table[at + 6] as number)) >>> 0 === table[at + 2] &&
        ((scratch[1] as number) & (table[at + 5] as number)) >>> 0 === table[at + 1] &&
        ((scratch[0] as number) & (table[at + 4] as number)) >>> 0 === table[at]
      )
        return true;
    }
    return false;
  }
}

/** An immutable set of address ranges. */
export class CidrSet {
  readonly #v4: RangeTable;
  readonly #v6: RangeTable;

  private constructor(
    ranges: readonly Range[],
    /** How many ranges it was made of. */
    readonly size: number,
  ) {
    this.#v4 = new RangeTable(ranges.filter((range) => range.family === 4));
    this.#v6 = new RangeTable(ranges.filter((range) => range.family === 6));
  }

  /** `10.0.0.0/8`, `2001:db8::/32`; a bare address is itself alone. Host bits are ignored. The error is the text that is no range. */
  static parse(cidrs: readonly string[]): Result<CidrSet, string> {
    const ranges: Range[] = [];
    for (const text of cidrs) {
      const range = parseRange(text);
      if (range === undefined) return err(text);
      ranges.push(range);
    }
    return ok(new CidrSet(ranges, ranges.length));
  }

  /** Like `parse`, for text that was validated before; throws an `Error` naming the text that is no range. */
  static from(cidrs: readonly string[]): CidrSet {
    const parsed = CidrSet.parse(cidrs);
    if (!parsed.ok) throw new Error(`not an address range: ${parsed.error}`);
    return parsed.value;
  }

  /** Text that is no address is in no set. */
  contains(address: string): boolean {
    if (this.size === 0) return false;
    const family = readAddress(address);
    if (family === 0) return false;
    return family === 4 ? this.#v4.containsScratch() : this.#v6.containsScratch();
  }
}
