/** SHA-256 (FIPS 180-4) and HMAC (RFC 2104). No branch and no table index depends on the data. */

const K = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be,
  0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa,
  0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
  0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
  0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f,
  0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const STATE = memory.data(32, 4);
const SCHEDULE = memory.data(256, 4);
const TAIL = memory.data(128, 4);

function compress(from: usize): void {
  for (let i: usize = 0; i < 16; i++) store<u32>(SCHEDULE + 4 * i, bswap<u32>(load<u32>(from + 4 * i)));
  for (let i: usize = 16; i < 64; i++) {
    const a = load<u32>(SCHEDULE + 4 * (i - 15));
    const b = load<u32>(SCHEDULE + 4 * (i - 2));
    const s0 = rotr<u32>(a, 7) ^ rotr<u32>(a, 18) ^ (a >> 3);
    const s1 = rotr<u32>(b, 17) ^ rotr<u32>(b, 19) ^ (b >> 10);
    store<u32>(SCHEDULE + 4 * i, load<u32>(SCHEDULE + 4 * (i - 16)) + s0 + load<u32>(SCHEDULE + 4 * (i - 7)) + s1);
  }
  let a = load<u32>(STATE), b = load<u32>(STATE + 4), c = load<u32>(STATE + 8), d = load<u32>(STATE + 12);
  let e = load<u32>(STATE + 16), f = load<u32>(STATE + 20), g = load<u32>(STATE + 24), h = load<u32>(STATE + 28);
  for (let i: usize = 0; i < 64; i++) {
    const s1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + load<u32>(K + 4 * i) + load<u32>(SCHEDULE + 4 * i);
    const s0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
  }
  store<u32>(STATE, load<u32>(STATE) + a);
  store<u32>(STATE + 4, load<u32>(STATE + 4) + b);
  store<u32>(STATE + 8, load<u32>(STATE + 8) + c);
  store<u32>(STATE + 12, load<u32>(STATE + 12) + d);
  store<u32>(STATE + 16, load<u32>(STATE + 16) + e);
  store<u32>(STATE + 20, load<u32>(STATE + 20) + f);
  store<u32>(STATE + 24, load<u32>(STATE + 24) + g);
  store<u32>(STATE + 28, load<u32>(STATE + 28) + h);
}

/** Writes the 32 bytes of the hash of `[data, data + length)` to `to`. */
export function sha256(data: usize, length: usize, to: usize): void {
  begin();
  finish(data, length, length, to);
}

function begin(): void {
  store<u32>(STATE, 0x6a09e667);
  store<u32>(STATE + 4, 0xbb67ae85);
  store<u32>(STATE + 8, 0x3c6ef372);
  store<u32>(STATE + 12, 0xa54ff53a);
  store<u32>(STATE + 16, 0x510e527f);
  store<u32>(STATE + 20, 0x9b05688c);
  store<u32>(STATE + 24, 0x1f83d9ab);
  store<u32>(STATE + 28, 0x5be0cd19);
}

/** `total` counts what was compressed before as well. */
function finish(data: usize, length: usize, total: usize, to: usize): void {
  let p = data;
  const end = data + (length & ~63);
  for (; p < end; p += 64) compress(p);
  const rest = length & 63;
  memory.fill(TAIL, 0, 128);
  memory.copy(TAIL, p, rest);
  store<u8>(TAIL + rest, 0x80);
  const size: usize = rest < 56 ? 64 : 128;
  store<u64>(TAIL + size - 8, bswap<u64>((<u64>total) << 3));
  compress(TAIL);
  if (size == 128) compress(TAIL + 64);
  for (let i: usize = 0; i < 8; i++) store<u32>(to + 4 * i, bswap<u32>(load<u32>(STATE + 4 * i)));
}

const PAD = memory.data(64, 4);
const INNER = memory.data(32, 4);

/** HMAC-SHA-256; the key is at most 64 bytes. */
export function hmacSha256(key: usize, keyLength: usize, data: usize, length: usize, to: usize): void {
  pad(key, keyLength, 0x36);
  begin();
  compress(PAD);
  finish(data, length, length + 64, INNER);
  pad(key, keyLength, 0x5c);
  begin();
  compress(PAD);
  finish(INNER, 32, 96, to);
}

function pad(key: usize, length: usize, byte: u8): void {
  memory.fill(PAD, 0, 64);
  memory.copy(PAD, key, length);
  for (let i: usize = 0; i < 64; i++) store<u8>(PAD + i, load<u8>(PAD + i) ^ byte);
}
