import { proxy_get_shared_data, proxy_set_shared_data } from "../sdk/imports";
import { foreign, nowNs, out, outLength } from "../sdk/host";
import { ByteString, utf8 } from "../sdk/memory";
import { SIP_KEY, SIP_OUT, sipHash128 } from "../sdk/siphash";

/**
 * Where the counters are. GCRA keeps one number per key: the theoretical arrival time (TAT) of the next request that would
 * find the bucket full. A request is allowed when `max(TAT, now) + interval * cost - now` is at most the capacity.
 *
 * Two places: the host's table in memory shared by all workers (foreign function `selvedge.rate_limit`: one call decides about
 * all limits of a request, atomically per key), or the proxy's shared data with compare-and-set (Envoy).
 */

const FUNCTION = utf8("selvedge.rate_limit");
const CAPACITY: i32 = 16;

/** Requests: 40 bytes each: hash (16), increment (8), capacity (8), flags (4; bit 0: shadow), reserved (4). */
const requests = memory.data(16 * 40, 8);
/** Raw keys, for shared data: address and length. */
const keys = memory.data(16 * 8, 8);
let count: i32 = 0;

export const ALLOWED: i32 = 1;
export const REFUSED: i32 = 0;
export const FULL: i32 = 2;

/** Answers: `TAT - now` after the decision, and what was decided. */
const levels = memory.data(16 * 8, 8);
const outcomes = memory.data(16 * 4, 4);

let hasTable: bool = false;
const TRIES_MAX: i32 = 100;
const CREATE: i32 = -1;

/** Finds out which place there is. The host answers an empty call with the secret of the hash. */
export function openCounters(): void {
  hasTable = foreign(FUNCTION, 0, 0) == 0 && outLength() == 16;
  if (hasTable) memory.copy(SIP_KEY, out(), 16);
}

export function beginCounters(): void {
  count = 0;
}

/** Adds a question; the key's bytes must stay until `decide`. */
export function ask(key: usize, length: usize, increment: i64, capacity: i64, shadow: bool): void {
  if (count == CAPACITY) unreachable();
  const at = requests + 40 * count;
  if (hasTable) {
    sipHash128(key, length);
    memory.copy(at, SIP_OUT, 16);
  }
  store<i64>(at + 16, increment);
  store<i64>(at + 24, capacity);
  store<u64>(at + 32, shadow ? 1 : 0);
  store<usize>(keys + 8 * count, key);
  store<u32>(keys + 8 * count + 4, <u32>length);
  count++;
}

@inline
export function level(i: i32): i64 {
  return load<i64>(levels + 8 * i);
}
@inline
export function outcome(i: i32): i32 {
  return load<i32>(outcomes + 4 * i);
}

/** Decides about all that was asked: all allow, or nothing is consumed. False: a limit that is no shadow refuses. */
export function decide(): bool {
  if (hasTable) return decideInTable();
  return decideInSharedData();
}

function decideInTable(): bool {
  const status = foreign(FUNCTION, requests, 40 * count);
  // A table that answers nothing is broken: trap, and the host's `onFailure` decides.
  if (status != 0 || outLength() != <usize>(16 * count)) unreachable();
  let allowed = true;
  const from = out();
  for (let i = 0; i < count; i++) {
    store<i64>(levels + 8 * i, load<i64>(from + 16 * i));
    const decision = load<i32>(from + 16 * i + 8);
    store<i32>(outcomes + 4 * i, decision);
    if (decision != ALLOWED && !shadowed(i)) allowed = false;
  }
  return allowed;
}

@inline
function shadowed(i: i32): bool {
  return (load<u32>(requests + 40 * i + 32) & 1) != 0;
}

function decideInSharedData(): bool {
  const now = <i64>(nowNs() / 100);
  let allowed = true;
  let taken = 0;
  for (; taken < count; taken++) {
    store<i32>(outcomes + 4 * taken, move(taken, now, load<i64>(requests + 40 * taken + 16), true));
    if (outcome(taken) != ALLOWED && !shadowed(taken)) {
      allowed = false;
      break;
    }
  }
  if (allowed) return true;
  // Give back what the limits before the refusing one took, and tell the level of those behind it.
  for (let i = 0; i < count; i++) {
    if (i < taken && outcome(i) == ALLOWED) move(i, now, -load<i64>(requests + 40 * i + 16), true);
    else if (i > taken) store<i32>(outcomes + 4 * i, move(i, now, load<i64>(requests + 40 * i + 16), false));
  }
  return false;
}

const CAS = memory.data(16, 8);

/** Moves one TAT by compare-and-set; `keep` false only looks. Writes the level. */
function move(i: i32, now: i64, by: i64, keep: bool): i32 {
  const key = load<usize>(keys + 8 * i);
  const length = load<u32>(keys + 8 * i + 4);
  const capacity = load<i64>(requests + 40 * i + 24);
  for (let attempt = 0; attempt < TRIES_MAX; attempt++) {
    store<u32>(CAS, 0);
    const found = proxy_get_shared_data(key, length, CAS + 8, CAS + 12, CAS) == 0 && load<u32>(CAS + 12) == 8;
    const tat = found ? max(load<i64>(load<usize>(CAS + 8)), now) : now;
    // A number that no value has creates a missing key without overwriting what another worker just created; a host that
    // refuses that for a missing key gets an unconditional write after two tries.
    const cas = found ? load<i32>(CAS) : attempt < 2 ? CREATE : 0;
    const moved = max(tat + by, now);
    if (by > 0 && moved - now > capacity) {
      store<i64>(levels + 8 * i, tat - now);
      return REFUSED;
    }
    store<i64>(levels + 8 * i, keep ? moved - now : tat - now);
    if (!keep) return ALLOWED;
    store<i64>(CAS + 8, moved);
    if (proxy_set_shared_data(key, length, CAS + 8, 8, cas) == 0) return ALLOWED;
  }
  return FULL;
}

export function usesTable(): bool {
  return hasTable;
}
