import { respond } from "./host";
import { arenaAlloc, ByteString } from "./memory";

/** A local answer's header fields, put together in place. */
const MAX: i32 = 32;
const names = memory.data(32 * 8, 8);
const values = memory.data(32 * 8, 8);
let count: i32 = 0;

export function beginReply(): void {
  count = 0;
}

export function replyHeader(name: ByteString, value: usize, length: usize): void {
  if (count >= MAX) return;
  store<usize>(names + 8 * count, changetype<usize>(name));
  store<u32>(names + 8 * count + 4, name.length);
  store<usize>(values + 8 * count, value);
  store<u32>(values + 8 * count + 4, <u32>length);
  count++;
}

/** Sends it. The request goes no further. */
export function sendReply(status: i32, details: ByteString, body: usize, bodyLength: usize): void {
  let total: usize = 4;
  for (let i = 0; i < count; i++) total += 10 + load<u32>(names + 8 * i + 4) + load<u32>(values + 8 * i + 4);
  const map = arenaAlloc(total);
  store<u32>(map, count);
  let data = map + 4 + 8 * count;
  for (let i = 0; i < count; i++) {
    const nameLength = load<u32>(names + 8 * i + 4);
    const valueLength = load<u32>(values + 8 * i + 4);
    store<u32>(map + 4 + 8 * i, nameLength);
    store<u32>(map + 8 + 8 * i, valueLength);
    memory.copy(data, load<usize>(names + 8 * i), nameLength);
    store<u8>(data + nameLength, 0);
    data += nameLength + 1;
    memory.copy(data, load<usize>(values + 8 * i), valueLength);
    store<u8>(data + valueLength, 0);
    data += valueLength + 1;
  }
  respond(status, details, body, bodyLength, map, total);
}
