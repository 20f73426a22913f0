/** SipHash-2-4 with 128 bits of output (Aumasson, Bernstein 2012): a keyed hash, so that a caller cannot choose keys that collide. */

/** The secret: 16 bytes. */
export const SIP_KEY = memory.data(16, 8);
/** The hash made last. */
export const SIP_OUT = memory.data(16, 8);

/** Hashes `[data, data + length)` into `SIP_OUT`. One loop, so that the state stays in locals: globals cost memory accesses. */
export function sipHash128(data: usize, length: usize): void {
  const k0 = load<u64>(SIP_KEY);
  const k1 = load<u64>(SIP_KEY + 8);
  let v0: u64 = k0 ^ 0x736f6d6570736575;
  let v1: u64 = k1 ^ 0x646f72616e646f6d ^ 0xee;
  let v2: u64 = k0 ^ 0x6c7967656e657261;
  let v3: u64 = k1 ^ 0x7465646279746573;
  const words = length >> 3;
  let last: u64 = (<u64>length) << 56;
  for (let i = words << 3; i < length; i++) last |= (<u64>load<u8>(data + i)) << (8 * (i & 7));
  // The words, the last one with the length, then twice four rounds for the two halves of the answer.
  for (let step: usize = 0; step < words + 3; step++) {
    const word: u64 = step < words ? load<u64>(data + 8 * step) : step == words ? last : 0;
    let rounds = 2;
    if (step > words) {
      rounds = 4;
      if (step == words + 1) v2 ^= 0xee;
      else v1 ^= 0xdd;
    }
    v3 ^= word;
    for (; rounds > 0; rounds--) {
      v0 += v1; v1 = rotl<u64>(v1, 13); v1 ^= v0; v0 = rotl<u64>(v0, 32);
      v2 += v3; v3 = rotl<u64>(v3, 16); v3 ^= v2;
      v0 += v3; v3 = rotl<u64>(v3, 21); v3 ^= v0;
      v2 += v1; v1 = rotl<u64>(v1, 17); v1 ^= v2; v2 = rotl<u64>(v2, 32);
    }
    v0 ^= word;
    if (step == words + 1) store<u64>(SIP_OUT, v0 ^ v1 ^ v2 ^ v3);
  }
  store<u64>(SIP_OUT + 8, v0 ^ v1 ^ v2 ^ v3);
}
