/**
 * IP addresses as 16 bytes; IPv4 as ::ffff:a.b.c.d (RFC 4291 §2.5.5.2), so that both families compare alike.
 */

/** The address parsed last. */
export const ADDRESS = memory.data(16, 8);
/** Was the address parsed last IPv4? */
export let isV4: bool = false;

function parseV4(p: usize, end: usize, to: usize): bool {
  for (let part = 0; part < 4; part++) {
    if (part > 0) {
      if (p >= end || load<u8>(p) != 0x2e) return false;
      p++;
    }
    let value: u32 = 0;
    let digits = 0;
    while (p < end && load<u8>(p) >= 0x30 && load<u8>(p) <= 0x39 && digits < 3) {
      value = value * 10 + load<u8>(p) - 0x30;
      p++;
      digits++;
    }
    if (digits == 0 || value > 255) return false;
    store<u8>(to + part, <u8>value);
  }
  return p == end;
}

const groups = memory.data(16, 2);

function group(i: i32, value: u32): void {
  store<u8>(groups + 2 * i, <u8>(value >> 8));
  store<u8>(groups + 2 * i + 1, <u8>value);
}

function parseV6(p: usize, end: usize): bool {
  let count = 0;
  let gap = -1;
  if (p + 1 < end && load<u16>(p) == 0x3a3a) {
    gap = 0;
    p += 2;
  }
  while (p < end) {
    if (count == 8) return false;
    let value: u32 = 0;
    const from = p;
    while (p < end) {
      const byte = load<u8>(p);
      let digit: i32 = -1;
      if (byte >= 0x30 && byte <= 0x39) digit = byte - 0x30;
      else if ((byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66) digit = (byte | 0x20) - 0x57;
      if (digit < 0) break;
      if (p - from == 4) return false;
      value = (value << 4) | digit;
      p++;
    }
    if (p < end && load<u8>(p) == 0x2e) {
      if (count > 6 || !parseV4(from, end, groups + 2 * count)) return false;
      count += 2;
      p = end;
      break;
    }
    if (p == from) return false;
    group(count++, value);
    if (p == end) break;
    if (load<u8>(p++) != 0x3a) return false;
    if (p < end && load<u8>(p) == 0x3a) {
      if (gap >= 0) return false;
      gap = count;
      p++;
    } else if (p == end) return false;
  }
  if (gap < 0 ? count != 8 : count > 7) return false;
  store<u64>(ADDRESS, 0);
  store<u64>(ADDRESS + 8, 0);
  const head = gap < 0 ? count : gap;
  memory.copy(ADDRESS, groups, 2 * head);
  if (gap >= 0) memory.copy(ADDRESS + 16 - 2 * (count - gap), groups + 2 * gap, 2 * (count - gap));
  return true;
}

/** Reads an address without port into `ADDRESS`. */
export function parseAddress(p: usize, end: usize): bool {
  for (let q = p; q < end; q++) {
    if (load<u8>(q) == 0x25) {
      end = q;
      break;
    }
  }
  let colon = false;
  for (let q = p; q < end; q++) if (load<u8>(q) == 0x3a) colon = true;
  if (!colon) {
    store<u64>(ADDRESS, 0);
    store<u32>(ADDRESS + 8, 0xffff0000);
    isV4 = true;
    return parseV4(p, end, ADDRESS + 12);
  }
  if (!parseV6(p, end)) return false;
  isV4 = load<u64>(ADDRESS) == 0 && load<u32>(ADDRESS + 8) == 0xffff0000;
  return true;
}

/** Reads `1.2.3.4:80`, `[::1]:80` or a bare address into `ADDRESS`. */
export function parseAddressPort(p: usize, length: usize): bool {
  const end = p + length;
  if (length == 0) return false;
  if (load<u8>(p) == 0x5b) {
    let q = p;
    while (q < end && load<u8>(q) != 0x5d) q++;
    return q < end && parseAddress(p + 1, q);
  }
  let colons = 0;
  let last = end;
  for (let q = p; q < end; q++) {
    if (load<u8>(q) == 0x3a) {
      colons++;
      last = q;
    }
  }
  return parseAddress(p, colons == 1 ? last : end);
}

/** A range of addresses. */
export class Cidr {
  bytes: StaticArray<u8> = new StaticArray<u8>(16);
  /** Of 128. */
  bits: i32 = 128;

  /** Is `ADDRESS` in it? */
  contains(): bool {
    const own = changetype<usize>(this.bytes);
    const whole = this.bits >> 3;
    for (let i = 0; i < whole; i++) if (load<u8>(own + i) != load<u8>(ADDRESS + i)) return false;
    const rest = this.bits & 7;
    if (rest == 0) return true;
    const mask: u32 = 0xff << (8 - rest);
    return (<u32>(load<u8>(own + whole) ^ load<u8>(ADDRESS + whole)) & mask & 0xff) == 0;
  }
}

/** Reads `10.0.0.0/8` or a bare address; null when it is none. Host bits are ignored. */
export function parseCidr(text: StaticArray<u8>): Cidr | null {
  const p = changetype<usize>(text);
  const end = p + text.length;
  let slash = p;
  while (slash < end && load<u8>(slash) != 0x2f) slash++;
  if (!parseAddress(p, slash)) return null;
  const cidr = new Cidr();
  memory.copy(changetype<usize>(cidr.bytes), ADDRESS, 16);
  if (slash == end) return cidr;
  let bits = 0;
  if (slash + 1 == end || end - slash > 4) return null;
  for (let q = slash + 1; q < end; q++) {
    const digit = load<u8>(q) - 0x30;
    if (digit > 9) return null;
    bits = bits * 10 + digit;
  }
  let dotted = true;
  for (let q = p; q < slash; q++) if (load<u8>(q) == 0x3a) dotted = false;
  if (bits > (dotted ? 32 : 128)) return null;
  cidr.bits = dotted ? bits + 96 : bits;
  return cidr;
}
