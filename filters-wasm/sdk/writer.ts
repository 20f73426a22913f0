import { arenaAlloc } from "./memory";

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
  memory.copy(buffer + length, from, count);
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

export function decimal(value: i64): void {
  reserve(20);
  if (value < 0) {
    store<u8>(buffer + length++, 0x2d);
    value = -value;
  }
  let digits: usize = 1;
  for (let rest = <u64>value / 10; rest > 0; rest /= 10) digits++;
  let rest = <u64>value;
  for (let i = digits; i > 0; i--) {
    store<u8>(buffer + length + i - 1, <u8>(0x30 + (rest % 10)));
    rest /= 10;
  }
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
