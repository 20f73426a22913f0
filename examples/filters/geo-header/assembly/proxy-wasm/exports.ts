// First: the compiler needs it before anything else.
import "./abort";
import { Exchange, Filter, logError, makeFilter, readSettings } from "./filter";

/** What the host calls. The entry file exports all of it. */

const filters = new Map<i32, Filter>();
const exchanges = new Map<i32, Exchange>();
/** What the host hands over lives until the callback ends. */
const given: ArrayBuffer[] = [];
let closed = 0;

export function proxy_abi_version_0_2_1(): void {}

export function proxy_on_memory_allocate(size: usize): usize {
  const bytes = new ArrayBuffer(<i32>size);
  given.push(bytes);
  return changetype<usize>(bytes);
}

export function proxy_on_vm_start(root: i32, size: i32): i32 {
  return 1;
}

export function proxy_on_context_create(id: i32, parent: i32): void {
  given.length = 0;
  if (parent == 0) filters.set(id, makeFilter());
  else exchanges.set(id, filters.get(parent).open());
}

export function proxy_on_configure(root: i32, size: i32): i32 {
  given.length = 0;
  const problem = filters.get(root).configure(size == 0 ? "{}" : readSettings(size));
  if (problem != "") logError(problem);
  return problem == "" ? 1 : 0;
}

export function proxy_on_request_headers(id: i32, count: i32, end: i32): i32 {
  given.length = 0;
  return exchanges.get(id).onRequestHeaders(end != 0);
}
export function proxy_on_request_body(id: i32, size: i32, end: i32): i32 {
  given.length = 0;
  return exchanges.get(id).onRequestBody(size, end != 0);
}
export function proxy_on_response_headers(id: i32, count: i32, end: i32): i32 {
  given.length = 0;
  return exchanges.get(id).onResponseHeaders(end != 0);
}
export function proxy_on_response_body(id: i32, size: i32, end: i32): i32 {
  given.length = 0;
  return exchanges.get(id).onResponseBody(size, end != 0);
}

export function proxy_on_log(id: i32): void {
  given.length = 0;
  if (exchanges.has(id)) exchanges.get(id).onLog();
}

export function proxy_on_delete(id: i32): void {
  given.length = 0;
  exchanges.delete(id);
  filters.delete(id);
  // Between callbacks nothing of ours is on the stack: the time to collect.
  if (++closed % 64 == 0) __collect();
}
