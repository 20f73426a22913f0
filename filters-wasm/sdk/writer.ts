import { arenaAlloc, copyBytes } from "./memory";

/** Bytes being put together in the arena: one at a time is enough for what the filters say. */
let buffer: usize = 0;
let capacity: usize = 0;
let length: usize = 0;

export function begin(expected: usize = 256): void {
  buffer = arenaAlloc(expected);
  capacity = expected;
  length = 0;
}

function reserve(more: usize): void {
  if (length + more <= capacity) return;
  const wanted = (length + more) * 2;
  const larger = arenaAlloc(wanted);
  memory.copy(larger, buffer, length);
  buffer = larger;
  capacity = wanted;
}

export function bytes(from: usize, count: usize): void {
  reserve(count);
  copyBytes(buffer + length, from, count);
  length += count;
}

@inline
export function text(value: StaticArray<u8>): void {
  bytes(changetype<usize>(value), value.length);
}

export function byte(value: u8): void {
  reserve(1);
  store<u8>(buffer + length++, value);
}

export function u32le(value: u32): void {
  reserve(4);
  store<u32>(buffer + length, value);
  length += 4;
}

export function u64le(value: u64): void {
  reserve(8);
  store<u64>(buffer + length, value);
  length += 8;
}

const DIGITS = memory.data(24, 8);

export function decimal(value: i64): void {
  reserve(20);
  if (value < 0) {
    store<u8>(buffer + length++, 0x2d);
    value = -value;
  }
  let rest = <u64>value;
  let at = DIGITS + 20;
  while (rest > u32.MAX_VALUE) {
    const tens = rest / 10;
    store<u8>(--at, <u8>(0x30 + (rest - tens * 10)));
    rest = tens;
  }
  // The rest fits 32 bits: dividing by ten is a multiplication and a shift.
  do {
    const tens = (rest * 0xcccccccd) >> 35;
    store<u8>(--at, <u8>(0x30 + (rest - tens * 10)));
    rest = tens;
  } while (rest > 0);
  const digits = DIGITS + 20 - at;
  copyBytes(buffer + length, at, digits);
  length += digits;
}

@inline
export function start(): usize {
  return buffer;
}

@inline
export function size(): usize {
  return length;
}
