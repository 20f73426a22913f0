/** IP addresses as two numbers of 64 bits; IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so that both families compare alike. */
export class Address {
  constructor(
    public high: u64,
    public low: u64,
  ) {}
}

export class Range {
  constructor(
    private start: Address,
    /** Of 128. */
    public bits: i32,
  ) {}

  has(address: Address): bool {
    const highBits = min(this.bits, 64);
    if (highBits > 0 && (address.high ^ this.start.high) >> (64 - highBits) != 0) return false;
    const lowBits = this.bits - 64;
    return lowBits <= 0 || (address.low ^ this.start.low) >> (64 - lowBits) == 0;
  }
}

/** `1.2.3.4`, `1.2.3.4:80`, `::1`, `[::1]:80`; null: it is none. */
export function parseAddress(text: string): Address | null {
  if (text.startsWith("[")) {
    const close = text.indexOf("]");
    return close < 0 ? null : parseV6(text.substring(1, close));
  }
  const colon = text.indexOf(":");
  if (colon < 0) return parseV4(text);
  return text.lastIndexOf(":") == colon ? parseV4(text.substring(0, colon)) : parseV6(text);
}

/** `10.0.0.0/8`, `2001:db8::/32`, or one address; null: it is none. */
export function parseRange(text: string): Range | null {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.substring(0, slash));
  if (address === null) return null;
  const most = text.includes(":") ? 128 : 32;
  const bits = slash < 0 ? most : parseNumber(text.substring(slash + 1), most);
  return bits < 0 ? null : new Range(address, bits + 128 - most);
}

/** A decimal number up to `most`; -1: it is none. */
function parseNumber(text: string, most: i32): i32 {
  if (text.length == 0 || text.length > 3) return -1;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value > most ? -1 : value;
}

function parseV4(text: string): Address | null {
  const parts = text.split(".");
  if (parts.length != 4) return null;
  let value: u64 = 0xffff;
  for (let i = 0; i < 4; i++) {
    const part = parseNumber(parts[i], 255);
    if (part < 0) return null;
    value = (value << 8) | part;
  }
  return new Address(0, value);
}

function parseV6(text: string): Address | null {
  const gap = text.indexOf("::");
  const head = groupsOf(gap < 0 ? text : text.substring(0, gap));
  const tail = gap < 0 ? new Array<u64>() : groupsOf(text.substring(gap + 2));
  if (head === null || tail === null) return null;
  const count = head.length + tail.length;
  if (gap < 0 ? count != 8 : count > 7) return null;
  const groups = new StaticArray<u64>(8);
  for (let i = 0; i < head.length; i++) groups[i] = head[i];
  for (let i = 0; i < tail.length; i++) groups[8 - tail.length + i] = tail[i];
  return new Address(
    (groups[0] << 48) | (groups[1] << 32) | (groups[2] << 16) | groups[3],
    (groups[4] << 48) | (groups[5] << 32) | (groups[6] << 16) | groups[7],
  );
}

/** Groups of 16 bits; the last may be an IPv4 address, which is two. Null: malformed. */
function groupsOf(text: string): u64[] | null {
  const groups: u64[] = [];
  if (text == "") return groups;
  const parts = text.split(":");
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    if (part.includes(".")) {
      const v4 = i == parts.length - 1 ? parseV4(part) : null;
      if (v4 === null) return null;
      groups.push((v4.low >> 16) & 0xffff);
      groups.push(v4.low & 0xffff);
      continue;
    }
    if (part.length == 0 || part.length > 4) return null;
    let value: u64 = 0;
    for (let k = 0; k < part.length; k++) {
      const code = part.charCodeAt(k) | 0x20;
      const digit = code >= 0x61 && code <= 0x66 ? code - 0x57 : part.charCodeAt(k) - 0x30;
      if (digit < 0 || digit > 15 || (digit > 9 && code < 0x61)) return null;
      value = (value << 4) | digit;
    }
    groups.push(value);
  }
  return groups;
}
