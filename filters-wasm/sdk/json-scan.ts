/**
 * JSON without a tree: positions in the text. Strict RFC 8259; nesting is bounded. Functions take and return addresses;
 * 0 means that the text is malformed there.
 */

const DEPTH_MAX: i32 = 64;

@inline
function blank(byte: u8): bool {
  return byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09;
}

export function skipBlank(p: usize, end: usize): usize {
  while (p < end && blank(load<u8>(p))) p++;
  return p;
}

/** `p` is at the opening quote; returns the address behind the closing one. */
export function skipString(p: usize, end: usize): usize {
  if (p >= end || load<u8>(p) != 0x22) return 0;
  p++;
  while (p < end) {
    const byte = load<u8>(p);
    if (byte == 0x22) return p + 1;
    if (byte < 0x20) return 0;
    if (byte == 0x5c) {
      if (++p >= end) return 0;
      const escape = load<u8>(p);
      if (escape == 0x75) {
        if (p + 4 >= end) return 0;
        for (let i = 1; i <= 4; i++) if (hexValue(load<u8>(p + i)) < 0) return 0;
        p += 4;
      } else if (!(escape == 0x22 || escape == 0x5c || escape == 0x2f || escape == 0x62 || escape == 0x66 || escape == 0x6e || escape == 0x72 || escape == 0x74)) return 0;
    }
    p++;
  }
  return 0;
}

export function hexValue(byte: u8): i32 {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const low = byte | 0x20;
  return low >= 0x61 && low <= 0x66 ? low - 0x57 : -1;
}

@inline
function digit(p: usize, end: usize): bool {
  return p < end && load<u8>(p) >= 0x30 && load<u8>(p) <= 0x39;
}

function skipNumber(p: usize, end: usize): usize {
  if (p < end && load<u8>(p) == 0x2d) p++;
  if (!digit(p, end)) return 0;
  if (load<u8>(p) == 0x30) p++;
  else while (digit(p, end)) p++;
  if (p < end && load<u8>(p) == 0x2e) {
    p++;
    if (!digit(p, end)) return 0;
    while (digit(p, end)) p++;
  }
  if (p < end && (load<u8>(p) | 0x20) == 0x65) {
    p++;
    if (p < end && (load<u8>(p) == 0x2b || load<u8>(p) == 0x2d)) p++;
    if (!digit(p, end)) return 0;
    while (digit(p, end)) p++;
  }
  return p;
}

/** `p` is at a value's first byte; returns the address behind the value. */
export function skipValue(p: usize, end: usize, depth: i32 = 0): usize {
  if (p >= end || depth > DEPTH_MAX) return 0;
  const byte = load<u8>(p);
  if (byte == 0x22) return skipString(p, end);
  if (byte == 0x7b) return skipMembers(p, end, depth, true);
  if (byte == 0x5b) return skipMembers(p, end, depth, false);
  if (byte == 0x74) return p + 4 <= end && load<u32>(p) == 0x65757274 ? p + 4 : 0;
  if (byte == 0x6e) return p + 4 <= end && load<u32>(p) == 0x6c6c756e ? p + 4 : 0;
  if (byte == 0x66) return p + 5 <= end && load<u32>(p + 1) == 0x65736c61 ? p + 5 : 0;
  return skipNumber(p, end);
}

function skipMembers(p: usize, end: usize, depth: i32, object: bool): usize {
  const closing: u8 = object ? 0x7d : 0x5d;
  p = skipBlank(p + 1, end);
  if (p < end && load<u8>(p) == closing) return p + 1;
  while (true) {
    if (object) {
      p = skipString(p, end);
      if (p == 0) return 0;
      p = skipBlank(p, end);
      if (p >= end || load<u8>(p) != 0x3a) return 0;
      p = skipBlank(p + 1, end);
    }
    p = skipValue(p, end, depth + 1);
    if (p == 0) return 0;
    p = skipBlank(p, end);
    if (p >= end) return 0;
    const byte = load<u8>(p);
    if (byte == closing) return p + 1;
    if (byte != 0x2c) return 0;
    p = skipBlank(p + 1, end);
  }
}

/** Is the whole text one JSON value? */
export function isJson(p: usize, end: usize): bool {
  const after = skipValue(skipBlank(p, end), end);
  return after != 0 && skipBlank(after, end) == end;
}

function hex4(p: usize): u32 {
  return (hexValue(load<u8>(p)) << 12) | (hexValue(load<u8>(p + 1)) << 8) | (hexValue(load<u8>(p + 2)) << 4) | hexValue(load<u8>(p + 3));
}

/**
 * Decodes the string whose opening quote is at `p` and that ends at `end` (behind the closing quote) into `to`, which has
 * room for `end - p` bytes; returns the length. A lone surrogate becomes U+FFFD.
 */
export function decodeString(p: usize, end: usize, to: usize): usize {
  const start = to;
  p++;
  end--;
  while (p < end) {
    const byte = load<u8>(p++);
    if (byte != 0x5c) {
      store<u8>(to++, byte);
      continue;
    }
    const escape = load<u8>(p++);
    if (escape != 0x75) {
      let plain = escape;
      if (escape == 0x62) plain = 8;
      else if (escape == 0x66) plain = 12;
      else if (escape == 0x6e) plain = 10;
      else if (escape == 0x72) plain = 13;
      else if (escape == 0x74) plain = 9;
      store<u8>(to++, plain);
      continue;
    }
    let code = hex4(p);
    p += 4;
    if (code >= 0xd800 && code < 0xdc00 && p + 6 <= end && load<u8>(p) == 0x5c && load<u8>(p + 1) == 0x75) {
      const second = hex4(p + 2);
      if (second >= 0xdc00 && second < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
        p += 6;
      }
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    to = encodeUtf8(code, to);
  }
  return to - start;
}

function encodeUtf8(code: u32, to: usize): usize {
  if (code < 0x80) {
    store<u8>(to, <u8>code);
    return to + 1;
  }
  if (code < 0x800) {
    store<u8>(to, <u8>(0xc0 | (code >> 6)));
    store<u8>(to + 1, <u8>(0x80 | (code & 63)));
    return to + 2;
  }
  if (code < 0x10000) {
    store<u8>(to, <u8>(0xe0 | (code >> 12)));
    store<u8>(to + 1, <u8>(0x80 | ((code >> 6) & 63)));
    store<u8>(to + 2, <u8>(0x80 | (code & 63)));
    return to + 3;
  }
  store<u8>(to, <u8>(0xf0 | (code >> 18)));
  store<u8>(to + 1, <u8>(0x80 | ((code >> 12) & 63)));
  store<u8>(to + 2, <u8>(0x80 | ((code >> 6) & 63)));
  store<u8>(to + 3, <u8>(0x80 | (code & 63)));
  return to + 4;
}
