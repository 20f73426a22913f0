import { setLoneSettings } from "./contexts";
import { foreign, trustReplace } from "./host";
import { arenaAlloc, ByteString, copyBytes, utf8 } from "./memory";

/**
 * What Selvedge offers beyond the ABI to save calls, as foreign functions. Elsewhere they are not found, and the filter is
 * called as the ABI says.
 */

const SKIP = utf8("selvedge.skip_callbacks");
const ADD = utf8("selvedge.add_response_headers");

/** Creating and deleting the contexts of exchanges: for settings that remember nothing from one callback to the next. */
export const CONTEXTS: u32 = 1;
export const ON_REQUEST_HEADERS: u32 = 2;
/** Body and trailers. */
export const ON_REQUEST_REST: u32 = 4 | 8;
export const ON_RESPONSE_HEADERS: u32 = 16;
export const ON_RESPONSE_REST: u32 = 32 | 64;

/** Tells the host which callbacks these settings do not need; false: it calls them all the same. At the end of configuring. */
export function skipCallbacks(bits: u32, settings: i32): bool {
  const at = arenaAlloc(4);
  store<u32>(at, bits);
  const skipped = foreign(SKIP, at, 4) == 0;
  if (skipped) trustReplace();
  // The host has one plugin per instance then, so the settings are the only ones.
  if (skipped && (bits & CONTEXTS) != 0) setLoneSettings(settings);
  return skipped;
}

/** Two fields for the answer, added by the host when it passes this filter. Only where `skipCallbacks` answered true. */
export function addToAnswer(
  name: ByteString, value: usize, length: usize, otherName: ByteString, otherValue: usize, otherLength: usize): void {
  const size = 24 + name.length + length + otherName.length + otherLength;
  const map = arenaAlloc(size);
  store<u32>(map, 2);
  store<u32>(map + 4, name.length);
  store<u32>(map + 8, <u32>length);
  store<u32>(map + 12, otherName.length);
  store<u32>(map + 16, <u32>otherLength);
  const end = append(append(map + 20, changetype<usize>(name), name.length), value, length);
  append(append(end, changetype<usize>(otherName), otherName.length), otherValue, otherLength);
  foreign(ADD, map, size);
}

function append(to: usize, from: usize, length: usize): usize {
  copyBytes(to, from, length);
  store<u8>(to + length, 0);
  return to + length + 1;
}
