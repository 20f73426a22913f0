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

// One scratch for every question: the parser writes here, so that `contains` allocates nothing.
const scratch = new Uint32Array(4);

/** Reads `text[start, end)` as a dotted quad into `scratch[3]`. Strict: four decimal parts, no leading zeros. */
function parseIpv4(text: string, start: number, end: number): boolean {
  let word = 0;
  let parts = 0;
  let value = 0;
  let digits = 0;
  for (let i = start; i <= end; i++) {
    const code = i === end ? 0x2e : text.charCodeAt(i);
    if (code === 0x2e) {
      if (digits === 0 || value > 255) return false;
      word = ((word << 8) | value) >>> 0;
      parts++;
      value = 0;
      digits = 0;
      continue;
    }
    if (code < 0x30 || code > 0x39) return false;
    if (digits > 0 && value === 0) return false;
    value = value * 10 + (code - 0x30);
    if (++digits > 3) return false;
  }
  if (parts !== 4) return false;
  scratch[3] = word;
  return true;
}

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

const groups = new Uint16Array(8);

/** Reads `text[0, end)` as IPv6 into `scratch`: `::` at most once, a dotted quad allowed at the end. No zone. */
function parseIpv6(text: string, end: number): boolean {
  let count = 0;
  let gap = -1;
  let i = 0;
  if (end >= 2 && text.charCodeAt(0) === 0x3a && text.charCodeAt(1) === 0x3a) {
    gap = 0;
    i = 2;
  }
  while (i < end) {
    if (count === 8) return false;
    let value = 0;
    const start = i;
    while (i < end) {
      const digit = hexValue(text.charCodeAt(i));
      if (digit < 0) break;
      value = value * 16 + digit;
      if (++i - start > 4) return false;
    }
    if (i < end && text.charCodeAt(i) === 0x2e) {
      if (count > 6 || !parseIpv4(text, start, end)) return false;
      const quad = scratch[3] as number;
      groups[count++] = quad >>> 16;
      groups[count++] = quad & 0xffff;
      i = end;
      break;
    }
    if (i === start) return false;
    groups[count++] = value;
    if (i === end) break;
    if (text.charCodeAt(i) !== 0x3a) return false;
    i++;
    if (i < end && text.charCodeAt(i) === 0x3a) {
      if (gap >= 0) return false;
      gap = count;
      i++;
    } else if (i === end) return false;
  }
  return spreadGroups(count, gap);
}

/** Puts the groups read into `scratch`, with zeros where `::` stood. */
function spreadGroups(count: number, gap: number): boolean {
  if (gap < 0 ? count !== 8 : count > 7) return false;
  const tail = gap < 0 ? 0 : count - gap;
  const group = (at: number): number => {
    if (gap < 0 || at < gap) return groups[at] as number;
    return at < 8 - tail ? 0 : (groups[at - 8 + count] as number);
  };
  for (let word = 0; word < 4; word++) scratch[word] = ((group(word * 2) << 16) | group(word * 2 + 1)) >>> 0;
  return true;
}

/** Reads an address into `scratch`; answers its family, or 0 when it is none. A zone (`%eth0`) is ignored. */
function readAddress(text: string): 0 | 4 | 6 {
  if (text.indexOf(":") < 0) {
    if (text.length > 15 || !parseIpv4(text, 0, text.length)) return 0;
    scratch[0] = 0;
    scratch[1] = 0;
    scratch[2] = 0;
    return 4;
  }
  const zone = text.indexOf("%");
  const end = zone < 0 ? text.length : zone;
  if (end > 45 || !parseIpv6(text, end)) return 0;
  if (scratch[0] === 0 && scratch[1] === 0 && scratch[2] === 0xffff) {
    scratch[2] = 0;
    return 4;
  }
  return 6;
}

/** Is it an IPv4 or IPv6 address as text (no port, no brackets)? A zone is allowed. */
export function isAddress(text: string): boolean {
  return readAddress(text) !== 0;
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
