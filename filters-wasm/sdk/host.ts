import {
  proxy_add_header_map_value, proxy_call_foreign_function, proxy_define_metric, proxy_get_buffer_bytes, proxy_get_current_time_nanoseconds,
  proxy_get_header_map_pairs, proxy_get_header_map_value, proxy_get_property, proxy_increment_metric, proxy_log, proxy_remove_header_map_value,
  proxy_replace_header_map_value, proxy_send_local_response, proxy_set_buffer_bytes, proxy_set_property,
} from "./imports";
import { arenaAlloc, ByteString, same, utf8 } from "./memory";

export const REQUEST_HEADERS: i32 = 0;
export const RESPONSE_HEADERS: i32 = 2;
export const REQUEST_BODY: i32 = 0;
export const RESPONSE_BODY: i32 = 1;
export const PLUGIN_CONFIGURATION: i32 = 7;

export const CONTINUE: i32 = 0;
export const PAUSE: i32 = 1;

const LOG_DEBUG: i32 = 1;
const LOG_INFO: i32 = 2;
const LOG_WARN: i32 = 3;
const LOG_ERROR: i32 = 4;

/** Where the host writes an address and a length. */
const OUT = memory.data(16, 8);

/** Address and length of what the last successful call returned. */
@inline
export function out(): usize {
  return load<usize>(OUT);
}
@inline
export function outLength(): usize {
  return load<usize>(OUT + 4);
}

function clearOut(): void {
  store<u64>(OUT, 0);
}

/** Property by a path whose parts are separated by NUL; false: not there. */
export function property(path: ByteString): bool {
  clearOut();
  return proxy_get_property(changetype<usize>(path), path.length, OUT, OUT + 4) == 0;
}

export function propertyAt(path: usize, length: usize): bool {
  clearOut();
  return proxy_get_property(path, length, OUT, OUT + 4) == 0;
}

export function setProperty(path: ByteString, value: usize, length: usize): void {
  proxy_set_property(changetype<usize>(path), path.length, value, length);
}

/** All fields of a map: see `Pairs`. */
export function headerPairs(map: i32): usize {
  clearOut();
  if (proxy_get_header_map_pairs(map, OUT, OUT + 4) != 0 || outLength() < 4) {
    const empty = arenaAlloc(4);
    store<u32>(empty, 0);
    return empty;
  }
  return out();
}

/** First value of a field; `value` holds it. For what a map has at most once, as the pseudo headers: policy sees every value. */
export function headerValue(map: i32, wanted: ByteString): bool {
  clearOut();
  valueLength = 0;
  if (proxy_get_header_map_value(map, changetype<usize>(wanted), wanted.length, OUT, OUT + 4) != 0) return false;
  value = out();
  valueLength = outLength();
  return true;
}

export function addHeader(map: i32, name: ByteString, value: usize, length: usize): void {
  proxy_add_header_map_value(map, changetype<usize>(name), name.length, value, length);
}

/** The host's «replace» leaves one value: see `setHeader`. */
let replacesAll: bool = false;

export function trustReplace(): void {
  replacesAll = true;
}

/** Removes every field of that name and adds one. Hosts differ in what «replace» does to the second value of a name. */
export function setHeader(map: i32, name: ByteString, value: usize, length: usize): void {
  if (!replacesAll && load<u8>(changetype<usize>(name)) != 0x3a) proxy_remove_header_map_value(map, changetype<usize>(name), name.length);
  proxy_replace_header_map_value(map, changetype<usize>(name), name.length, value, length);
}

export function removeHeader(map: i32, name: ByteString): void {
  proxy_remove_header_map_value(map, changetype<usize>(name), name.length);
}

/** The first `length` bytes of a body or of the configuration. */
export function bufferBytes(buffer: i32, length: i32): bool {
  clearOut();
  return proxy_get_buffer_bytes(buffer, 0, length, OUT, OUT + 4) == 0;
}

/** Replaces the whole buffer. */
export function replaceBuffer(buffer: i32, oldLength: i32, data: usize, length: usize): bool {
  return proxy_set_buffer_bytes(buffer, 0, oldLength, data, length) == 0;
}

/** A local answer. `headers` is a serialised map: see writer users. */
export function respond(status: i32, details: ByteString, body: usize, bodyLength: usize, headers: usize, headersLength: usize): void {
  proxy_send_local_response(status, changetype<usize>(details), details.length, body, bodyLength, headers, headersLength, -1);
}

/** Calls a foreign function; the host's status: 0 is ok, 1 not found. */
export function foreign(name: ByteString, input: usize, length: usize): i32 {
  clearOut();
  return proxy_call_foreign_function(changetype<usize>(name), name.length, input, length, OUT, OUT + 4);
}

/** Wall clock in nanoseconds. */
export function nowNs(): u64 {
  store<u64>(OUT + 8, 0);
  proxy_get_current_time_nanoseconds(OUT + 8);
  return load<u64>(OUT + 8);
}

/** What a counter counted, its id, and whether the host reads the count here, so that counting is no call. */
@unmanaged
class CounterCell {
  value: u64;
  id: u32;
  mapped: u32;
}

/** Address of what is counted in. */
export type Counter = usize;

/** Defines a counter; 0 when the host defines none. While configuring. */
export function counter(name: string): Counter {
  const encoded = utf8(name);
  store<u32>(OUT + 8, 0);
  if (proxy_define_metric(0, changetype<usize>(encoded), encoded.length, OUT + 8) != 0) return 0;
  const cell = heap.alloc(offsetof<CounterCell>());
  const made = changetype<CounterCell>(cell);
  made.value = 0;
  made.id = load<u32>(OUT + 8);
  store<u32>(OUT + 8, made.id);
  store<u32>(OUT + 12, <u32>cell);
  // No constant of this file: the compiler would make it before the collector's own lists, and then collecting traps.
  made.mapped = foreign(utf8("selvedge.map_counter"), OUT + 8, 8) == 0 ? 1 : 0;
  return cell;
}

export function count(counter: Counter): void {
  if (counter == 0) return;
  const cell = changetype<CounterCell>(counter);
  if (cell.mapped != 0) cell.value++;
  else proxy_increment_metric(cell.id, 1);
}

/** What happens for every request of somebody who must not fill the log. */
export function logDebug(from: usize, length: usize): void {
  proxy_log(LOG_DEBUG, from, length);
}
export function logInfo(from: usize, length: usize): void {
  proxy_log(LOG_INFO, from, length);
}
export function logWarn(text: string): void {
  const encoded = utf8(text);
  proxy_log(LOG_WARN, changetype<usize>(encoded), encoded.length);
}
export function logError(text: string): void {
  const encoded = utf8(text);
  proxy_log(LOG_ERROR, changetype<usize>(encoded), encoded.length);
}

// ---------------------------------------------------------------- header maps

/** Walks a serialised map: `u32 count`, then `u32 nameLength, u32 valueLength` each, then `name NUL value NUL` each. */
let left: u32 = 0;
let sizes: usize = 0;
let data: usize = 0;

export let name: usize = 0;
export let nameLength: usize = 0;
export let value: usize = 0;
export let valueLength: usize = 0;

export function rewind(pairs: usize): void {
  left = load<u32>(pairs);
  sizes = pairs + 4;
  data = sizes + 8 * left;
}

/** Moves to the next field: `name`, `value` and their lengths then hold it. */
export function next(): bool {
  if (left == 0) return false;
  left--;
  name = data;
  nameLength = load<u32>(sizes);
  value = data + nameLength + 1;
  valueLength = load<u32>(sizes + 4);
  data = value + valueLength + 1;
  sizes += 8;
  return true;
}

/** Moves to the next field with that name. */
export function nextNamed(wanted: ByteString): bool {
  while (next()) if (same(name, nameLength, changetype<usize>(wanted), wanted.length)) return true;
  return false;
}

/** First value of a name; `value` holds it. */
export function find(pairs: usize, wanted: ByteString): bool {
  rewind(pairs);
  return nextNamed(wanted);
}
