import type { Bytes } from "./bytes.ts";

/**
 * IP addresses as text and as bytes (RFC 4291, RFC 5952). Strict on the way in: four decimal parts without leading zeros, `::` once,
 * no brackets, no port. An IPv4-mapped IPv6 address (`::ffff:10.0.0.1`) is the IPv4 address it stands for.
 */

/** The words of the address read last; IPv4 stands in the last one. The parser writes here, so that questions allocate nothing. */
export const scratch = new Uint32Array(4);

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
export function readAddress(text: string): 0 | 4 | 6 {
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

/** 4 or 16 bytes in network order; undefined: no address. */
export function addressBytes(text: string): Bytes | undefined {
  const family = readAddress(text);
  if (family === 0) return undefined;
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  for (let i = 0; i < bytes.length; i++) {
    const at = family === 4 ? 12 + i : i;
    bytes[i] = (scratch[at >> 2] as number) >>> (24 - 8 * (at & 3));
  }
  return bytes;
}

/** The text of 4 or 16 bytes: lower case, the longest run of zero groups as `::` (RFC 5952 §4). Mapped addresses come out as IPv4. */
export function formatAddress(bytes: Bytes): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] as number) << 8) | (bytes[i * 2 + 1] as number));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return bytes.subarray(12).join(".");
  let start = 0;
  let length = 0;
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > length) [start, length] = [i, end - i];
  }
  const hex = (part: readonly number[]): string => part.map((group) => group.toString(16)).join(":");
  // One group alone is not shortened.
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}

/**
 * The inside of an IPv6 literal as hosts are compared: with brackets, spelt as RFC 5952 §4 says, or the IPv4 address that a mapped
 * one stands for (`::ffff:127.0.0.1` is `127.0.0.1`). Undefined: not IPv6, or with a zone, which means something on one machine only.
 */
export function canonicalIpv6Host(text: string): string | undefined {
  if (text.indexOf(":") < 0 || text.indexOf("%") >= 0) return undefined;
  const bytes = addressBytes(text);
  if (bytes === undefined) return undefined;
  const address = formatAddress(bytes);
  return address.indexOf(":") < 0 ? address : `[${address}]`;
}
