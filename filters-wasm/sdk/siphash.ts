/** SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012): a keyed hash, so that a caller cannot choose keys that collide. */

/** The secret: 16 bytes. */
export const SIP_KEY = memory.data(16, 8);
/** The hash made last. */
export const SIP_OUT = memory.data(16, 8);

let v0: u64 = 0;
let v1: u64 = 0;
let v2: u64 = 0;
let v3: u64 = 0;

@inline
function round(): void {
  v0 += v1; v1 = rotl<u64>(v1, 13); v1 ^= v0; v0 = rotl<u64>(v0, 32);
  v2 += v3; v3 = rotl<u64>(v3, 16); v3 ^= v2;
  v0 += v3; v3 = rotl<u64>(v3, 21); v3 ^= v0;
  v2 += v1; v1 = rotl<u64>(v1, 17); v1 ^= v2; v2 = rotl<u64>(v2, 32);
}

export function sipHash128(data: usize, length: usize): void {
  const k0 = load<u64>(SIP_KEY);
  const k1 = load<u64>(SIP_KEY + 8);
  v0 = k0 ^ 0x736f6d6570736575;
  v1 = k1 ^ 0x646f72616e646f6d ^ 0xee;
  v2 = k0 ^ 0x6c7967656e657261;
  v3 = k1 ^ 0x7465646279746573;
  const end = data + (length & ~7);
  let p = data;
  for (; p < end; p += 8) {
    const word = load<u64>(p);
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  let last: u64 = (<u64>length) << 56;
  const rest = length & 7;
  for (let i: usize = 0; i < rest; i++) last |= (<u64>load<u8>(p + i)) << (8 * i);
  v3 ^= last;
  round();
  round();
  v0 ^= last;
  v2 ^= 0xee;
  round(); round(); round(); round();
  store<u64>(SIP_OUT, v0 ^ v1 ^ v2 ^ v3);
  v1 ^= 0xdd;
  round(); round(); round(); round();
  store<u64>(SIP_OUT + 8, v0 ^ v1 ^ v2 ^ v3);
}
