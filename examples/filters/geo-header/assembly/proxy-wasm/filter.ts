import {
  proxy_add_header_map_value, proxy_get_buffer_bytes, proxy_get_current_time_nanoseconds, proxy_get_header_map_pairs,
  proxy_get_header_map_value, proxy_get_property, proxy_log, proxy_remove_header_map_value, proxy_replace_header_map_value,
  proxy_send_local_response, proxy_set_buffer_bytes, proxy_set_property,
} from "./imports";

/** What a callback answers. */
export enum Action {
  Continue = 0,
  /** Nothing goes on until the filter answers; of a body: the rest is collected. */
  Pause = 1,
}

const REQUEST_HEADERS = 0;
const RESPONSE_HEADERS = 2;
const REQUEST_BODY = 0;
const RESPONSE_BODY = 1;

/** Settings and everything that exchanges share. Make a class of your own from it and `register` it. */
export class Filter {
  /** Why the settings are refused; "": they are good. */
  configure(settings: string): string {
    return "";
  }
  open(): Exchange {
    return new Exchange();
  }
}

/** One request and its answer. Override the callbacks that matter. */
export class Exchange {
  /** `end`: there is no body. */
  onRequestHeaders(end: bool): Action {
    return Action.Continue;
  }
  /** `size`: bytes that are there now. `end`: there will not be more. */
  onRequestBody(size: i32, end: bool): Action {
    return Action.Continue;
  }
  onResponseHeaders(end: bool): Action {
    return Action.Continue;
  }
  onResponseBody(size: i32, end: bool): Action {
    return Action.Continue;
  }
  /** The exchange is over. */
  onLog(): void {}

  /** First value; null: there is no such field. Also `:method`, `:path`, `:authority`. */
  requestHeader(name: string): string | null {
    return headerOf(REQUEST_HEADERS, name);
  }
  responseHeader(name: string): string | null {
    return headerOf(RESPONSE_HEADERS, name);
  }
  /** Names and values in turn, in the order they came. */
  requestHeaders(): string[] {
    return headersOf(REQUEST_HEADERS);
  }
  responseHeaders(): string[] {
    return headersOf(RESPONSE_HEADERS);
  }
  /** One field with this value takes the place of all of that name. */
  setRequestHeader(name: string, value: string): void {
    setHeader(REQUEST_HEADERS, name, value);
  }
  setResponseHeader(name: string, value: string): void {
    setHeader(RESPONSE_HEADERS, name, value);
  }
  addResponseHeader(name: string, value: string): void {
    const n = utf8(name);
    const v = utf8(value);
    proxy_add_header_map_value(RESPONSE_HEADERS, at(n), n.byteLength, at(v), v.byteLength);
  }
  removeRequestHeader(name: string): void {
    const n = utf8(name);
    proxy_remove_header_map_value(REQUEST_HEADERS, at(n), n.byteLength);
  }
  removeResponseHeader(name: string): void {
    const n = utf8(name);
    proxy_remove_header_map_value(RESPONSE_HEADERS, at(n), n.byteLength);
  }
  /** The body that is there, as text. */
  requestBody(size: i32): string {
    return bodyOf(REQUEST_BODY, size);
  }
  responseBody(size: i32): string {
    return bodyOf(RESPONSE_BODY, size);
  }
  /** Takes the place of what is there. */
  replaceRequestBody(size: i32, text: string): void {
    const body = utf8(text);
    proxy_set_buffer_bytes(REQUEST_BODY, 0, size, at(body), body.byteLength);
  }
  replaceResponseBody(size: i32, text: string): void {
    const body = utf8(text);
    proxy_set_buffer_bytes(RESPONSE_BODY, 0, size, at(body), body.byteLength);
  }
  /** Answers itself; the request goes no further. Return what it returns. */
  respond(status: i32, text: string): Action {
    const body = utf8(text);
    proxy_send_local_response(status, 0, 0, at(body), body.byteLength, 0, 0, -1);
    return Action.Pause;
  }
}

/** An attribute as text: `property("source.address")`; null: not there. */
export function property(path: string): string | null {
  const key = utf8(path.replaceAll(".", "\0"));
  if (proxy_get_property(at(key), key.byteLength, OUT, OUT + 4) != 0) return null;
  return String.UTF8.decodeUnsafe(load<usize>(OUT), load<usize>(OUT + 4));
}

/** Later filters see it as an attribute; `selvedge.log.NAME` goes into the access log. */
export function setProperty(path: string, value: string): void {
  const key = utf8(path);
  const text = utf8(value);
  proxy_set_property(at(key), key.byteLength, at(text), text.byteLength);
}

/** Wall clock, nanoseconds since 1970; whole milliseconds unless `capabilities.clock` is granted. */
export function nowNs(): u64 {
  proxy_get_current_time_nanoseconds(OUT + 8);
  return load<u64>(OUT + 8);
}

export function logDebug(text: string): void {
  log(1, text);
}
export function logInfo(text: string): void {
  log(2, text);
}
export function logWarn(text: string): void {
  log(3, text);
}
export function logError(text: string): void {
  log(4, text);
}

let make: () => Filter = () => new Filter();

/** Says which filter this module is. Call it once, at the top of the entry file. */
export function register(factory: () => Filter): void {
  make = factory;
}
export function makeFilter(): Filter {
  return make();
}

// ---------------------------------------------------------------- below: how it is done

/** Where the host writes an address and a length, or a time. */
const OUT = memory.data(16, 8);

function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}
function at(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}

function log(level: i32, text: string): void {
  const line = utf8(text);
  proxy_log(level, at(line), line.byteLength);
}

function headerOf(map: i32, name: string): string | null {
  const key = utf8(name);
  if (proxy_get_header_map_value(map, at(key), key.byteLength, OUT, OUT + 4) != 0) return null;
  return String.UTF8.decodeUnsafe(load<usize>(OUT), load<usize>(OUT + 4));
}

function headersOf(map: i32): string[] {
  const found: string[] = [];
  if (proxy_get_header_map_pairs(map, OUT, OUT + 4) != 0) return found;
  const start = load<usize>(OUT);
  const count: u32 = load<u32>(start);
  let data = start + 4 + 8 * count;
  for (let i: u32 = 0; i < count * 2; i++) {
    const size = load<u32>(start + 4 + 4 * i);
    found.push(String.UTF8.decodeUnsafe(data, size));
    data += size + 1;
  }
  return found;
}

function setHeader(map: i32, name: string, value: string): void {
  const n = utf8(name);
  const v = utf8(value);
  // Hosts differ in what «replace» does to the second value of a name.
  if (!name.startsWith(":")) proxy_remove_header_map_value(map, at(n), n.byteLength);
  proxy_replace_header_map_value(map, at(n), n.byteLength, at(v), v.byteLength);
}

function bodyOf(buffer: i32, size: i32): string {
  if (proxy_get_buffer_bytes(buffer, 0, size, OUT, OUT + 4) != 0) return "";
  return String.UTF8.decodeUnsafe(load<usize>(OUT), load<usize>(OUT + 4));
}

/** The settings, as the host has them. */
export function readSettings(size: i32): string {
  if (proxy_get_buffer_bytes(7, 0, size, OUT, OUT + 4) != 0) return "";
  return String.UTF8.decodeUnsafe(load<usize>(OUT), load<usize>(OUT + 4));
}
