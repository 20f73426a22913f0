/**
 * Memory of one callback. What the host hands over (through `proxy_on_memory_allocate`) and all scratch data live in an arena
 * that is emptied when the next callback begins: no garbage, nothing to free, nothing that grows. Byte strings that must
 * last (settings) are `StaticArray<u8>`, whose address does not move.
 */

export type ByteString = StaticArray<u8>;

const BLOCK_BYTES: usize = 65536;
const block = memory.data(65536, 16);
let used: usize = 0;
/** Linked list of blocks for what does not fit. */
let overflow: usize = 0;

/** Bytes that are valid until the next callback begins. */
export function arenaAlloc(size: usize): usize {
  const rounded = (size + 15) & ~15;
  if (rounded < size) unreachable();
  if (rounded <= BLOCK_BYTES - used) {
    const at = block + used;
    used += rounded;
    return at;
  }
  const own = heap.alloc(rounded + 16);
  store<usize>(own, overflow);
  overflow = own;
  return own + 16;
}

/** Called at the beginning of every callback. */
export function arenaReset(): void {
  used = 0;
  while (overflow != 0) {
    const next = load<usize>(overflow);
    heap.free(overflow);
    overflow = next;
  }
}

/** UTF-8 of a text that lasts: for constants and settings. */
export function utf8(text: string): ByteString {
  const out = new StaticArray<u8>(String.UTF8.byteLength(text));
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, changetype<usize>(out));
  return out;
}

/** A lasting copy. */
export function keep(at: usize, length: usize): ByteString {
  const out = new StaticArray<u8>(<i32>length);
  memory.copy(changetype<usize>(out), at, length);
  return out;
}

@inline
export function at(bytes: ByteString): usize {
  return changetype<usize>(bytes);
}

/** Copies bytes that do not overlap. Short ones word by word: the instruction for it is a call in some engines. */
export function copyBytes(to: usize, from: usize, length: usize): void {
  if (length > 64) {
    memory.copy(to, from, length);
    return;
  }
  let i: usize = 0;
  for (; i + 8 <= length; i += 8) store<u64>(to + i, load<u64>(from + i));
  for (; i < length; i++) store<u8>(to + i, load<u8>(from + i));
}

/** Same bytes? Not for secrets. */
export function same(a: usize, aLength: usize, b: usize, bLength: usize): bool {
  if (aLength != bLength) return false;
  let i: usize = 0;
  for (; i + 8 <= aLength; i += 8) if (load<u64>(a + i) != load<u64>(b + i)) return false;
  for (; i < aLength; i++) if (load<u8>(a + i) != load<u8>(b + i)) return false;
  return true;
}

@inline
export function is(a: usize, aLength: usize, b: ByteString): bool {
  return same(a, aLength, changetype<usize>(b), b.length);
}

export function startsWith(a: usize, aLength: usize, prefix: ByteString): bool {
  return aLength >= <usize>prefix.length && same(a, prefix.length, changetype<usize>(prefix), prefix.length);
}

@inline
export function lower(byte: u8): u8 {
  return byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte;
}

/** Same ASCII text in any case? `b` is lower case. */
export function sameLower(a: usize, aLength: usize, b: ByteString): bool {
  if (aLength != <usize>b.length) return false;
  for (let i: usize = 0; i < aLength; i++) if (lower(load<u8>(a + i)) != load<u8>(changetype<usize>(b) + i)) return false;
  return true;
}

/** Same bytes, in a time that depends on the length alone. */
export function sameSecret(a: usize, b: usize, length: usize): bool {
  let difference: u8 = 0;
  for (let i: usize = 0; i < length; i++) difference |= load<u8>(a + i) ^ load<u8>(b + i);
  return difference == 0;
}

/** Position of a byte in `[from, length)`, or -1. */
export function indexOf(text: usize, length: usize, byte: u8, from: usize = 0): isize {
  for (let i = from; i < length; i++) if (load<u8>(text + i) == byte) return <isize>i;
  return -1;
}

/** Text of bytes, for messages only (allocates). */
export function textOf(from: usize, length: usize): string {
  return String.UTF8.decodeUnsafe(from, length);
}
