/**
 * What is known of each exchange in flight: a hash table of records that are used again, so that an exchange allocates
 * nothing. Root contexts map to the index of their settings.
 */

/** One exchange. `a`, `b` and the note belong to the filter. */
@unmanaged
export class Exchange {
  next: usize;
  id: u32;
  /** Index of the settings. */
  settings: i32;
  a: i32;
  b: i32;
  /** Bytes remembered from the request for the answer. */
  note: usize;
  noteLength: u32;
  noteCapacity: u32;
}

const BUCKETS: u32 = 4096;
const buckets = memory.data(4096 * 4, 4);
let free: usize = 0;
let closed: u32 = 0;
const roots = new Map<u32, i32>();

/** How often garbage is collected, in exchanges. Settings are garbage-collected objects; exchanges make little or none. */
const COLLECT_EVERY: u32 = 4096;

export function setRoot(id: u32, settings: i32): void {
  roots.set(id, settings);
}
export function rootSettings(id: u32): i32 {
  return roots.has(id) ? roots.get(id) : -1;
}

export function openContext(id: u32, parent: u32): void {
  if (parent == 0) {
    roots.set(id, -1);
    return;
  }
  let at = free;
  if (at != 0) free = changetype<Exchange>(at).next;
  else {
    at = heap.alloc(offsetof<Exchange>());
    changetype<Exchange>(at).note = 0;
    changetype<Exchange>(at).noteCapacity = 0;
  }
  const exchange = changetype<Exchange>(at);
  exchange.id = id;
  exchange.settings = rootSettings(parent);
  exchange.a = 0;
  exchange.b = 0;
  exchange.noteLength = 0;
  const bucket = buckets + 4 * (id & (BUCKETS - 1));
  exchange.next = load<usize>(bucket);
  store<usize>(bucket, at);
}

/** For settings that remember nothing: the host creates no contexts, and every exchange gets this empty record. */
let lone: i32 = -1;
const LONE = memory.data(offsetof<Exchange>(), 8);

export function setLoneSettings(settings: i32): void {
  lone = settings;
}

/** The exchange; a host that names an unknown one is broken, and the module traps. */
export function exchangeOf(id: u32): Exchange {
  if (lone >= 0) {
    const exchange = changetype<Exchange>(LONE);
    exchange.a = 0;
    exchange.b = 0;
    exchange.noteLength = 0;
    exchange.settings = lone;
    return exchange;
  }
  let at = load<usize>(buckets + 4 * (id & (BUCKETS - 1)));
  while (at != 0) {
    if (changetype<Exchange>(at).id == id) return changetype<Exchange>(at);
    at = changetype<Exchange>(at).next;
  }
  return unreachable();
}

/** Forgets a context. Returns the index of the settings when it was a root, else -1. */
export function closeContext(id: u32): i32 {
  let link = buckets + 4 * (id & (BUCKETS - 1));
  let at = load<usize>(link);
  while (at != 0) {
    const exchange = changetype<Exchange>(at);
    if (exchange.id == id) {
      store<usize>(link, exchange.next);
      exchange.next = free;
      free = at;
      if (++closed % COLLECT_EVERY == 0) __collect();
      return -1;
    }
    link = at + offsetof<Exchange>("next");
    at = exchange.next;
  }
  const settings = rootSettings(id);
  roots.delete(id);
  return settings;
}

/** Remembers bytes until the exchange ends. */
export function setNote(exchange: Exchange, from: usize, length: u32): void {
  if (exchange.noteCapacity < length) {
    if (exchange.note != 0) heap.free(exchange.note);
    exchange.note = heap.alloc(length + 64);
    exchange.noteCapacity = length + 64;
  }
  memory.copy(exchange.note, from, length);
  exchange.noteLength = length;
}
