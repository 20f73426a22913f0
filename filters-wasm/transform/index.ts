import { closeContext, Exchange, exchangeOf, setRoot } from "../sdk/contexts";
import {
  CONTEXTS, ON_REQUEST_HEADERS, ON_REQUEST_REST, ON_RESPONSE_HEADERS, ON_RESPONSE_REST, skipCallbacks,
} from "../sdk/extensions";
import {
  addHeader, bufferBytes, CONTINUE, Counter, counter, count, find, headerPairs, nextNamed, out, outLength, PAUSE, removeHeader, replaceBuffer, REQUEST_BODY,
  REQUEST_HEADERS, RESPONSE_BODY, RESPONSE_HEADERS, rewind, setHeader, value, valueLength,
} from "../sdk/host";
import { arenaReset, ByteString, lower, sameLower, utf8 } from "../sdk/memory";
import { beginReply, replyHeader, sendReply } from "../sdk/reply";
import { reportProblems, readSettings } from "../sdk/settings";
import * as w from "../sdk/writer";
import { corsRequest, corsResponse } from "./cors";
import { edit, editedLength, editedText } from "./json-edit";
import { ADD, HeaderOp, parse, REMOVE, RENAME, SET, Settings, Side } from "./settings";
import { rewriteTarget } from "./target";

export { proxy_abi_version_0_2_1, proxy_on_context_create, proxy_on_memory_allocate, proxy_on_vm_start } from "../sdk/abi";

const all: (Settings | null)[] = [];

const PATH = utf8(":path");
const CONTENT_TYPE = utf8("content-type");
const CONTENT_LENGTH = utf8("content-length");
const CONTENT_ENCODING = utf8("content-encoding");
const IDENTITY = utf8("identity");
const JSON = utf8("application/json");
const PLUS_JSON = utf8("+json");
const TEXT = utf8("text/plain; charset=utf-8");
const TOO_LARGE = utf8("The body is too large to be transformed.\n");
const BAD = utf8("The body is not JSON.\n");
const DETAILS = utf8("transform_body");

// Bits of `exchange.b`.
const EDIT_REQUEST: i32 = 1;
const EDIT_RESPONSE: i32 = 2;
const ANSWERED: i32 = 4;
const DROP_RESPONSE: i32 = 8;

let badBodyMetric: Counter = 0;

export function proxy_on_configure(root: u32, size: i32): i32 {
  arenaReset();
  const json = readSettings(size);
  if (json === null) {
    reportProblems();
    return 0;
  }
  const settings = parse(json);
  if (reportProblems()) return 0;
  badBodyMetric = counter("selvedge_transform_bad_bodies_total");
  all.push(settings);
  setRoot(root, all.length - 1);
  skipCallbacks(unneeded(settings), all.length - 1);
  return 1;
}

/** Callbacks that have nothing to do with these settings. */
function unneeded(settings: Settings): u32 {
  const request = settings.request;
  const response = settings.response;
  const cors = settings.cors !== null;
  const edits = request.json.length > 0 || response.json.length > 0;
  let bits: u32 = 0;
  // Only bodies and CORS remember something of an exchange.
  if (!cors && !edits) bits |= CONTEXTS;
  if (request.json.length == 0) {
    bits |= ON_REQUEST_REST;
    const rewrites = settings.hasPath || settings.query.length > 0;
    if (!cors && !rewrites && request.headers.length == 0) bits |= ON_REQUEST_HEADERS;
  }
  if (response.json.length == 0) {
    bits |= ON_RESPONSE_REST;
    if (!cors && response.headers.length == 0) bits |= ON_RESPONSE_HEADERS;
  }
  return bits;
}

export function proxy_on_request_headers(id: u32, headers: i32, end: i32): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  const settings = all[exchange.settings];
  if (settings === null) return unreachable();
  const cors = settings.cors;
  const side = settings.request;
  const rewrites = settings.hasPath || settings.query.length > 0;
  const edits = side.json.length > 0 && end == 0;
  let pairs: usize = 0;
  if (cors !== null || rewrites || edits || side.readsRequest) pairs = headerPairs(REQUEST_HEADERS);
  if (cors !== null && corsRequest(cors, exchange, pairs)) {
    exchange.b |= ANSWERED;
    return PAUSE;
  }
  if (edits && !beginBody(settings, exchange, REQUEST_HEADERS, pairs)) return PAUSE;
  if (rewrites && find(pairs, PATH) && rewriteTarget(settings, value, valueLength, pairs)) {
    setHeader(REQUEST_HEADERS, PATH, w.start(), w.size());
  }
  applyHeaders(side, REQUEST_HEADERS, pairs, 0);
  return CONTINUE;
}

export function proxy_on_response_headers(id: u32, headers: i32, end: i32): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  const settings = all[exchange.settings];
  if (settings === null) return unreachable();
  // Our own answers say what they have to say.
  if ((exchange.b & ANSWERED) != 0) return CONTINUE;
  const side = settings.response;
  const edits = side.json.length > 0 && end == 0;
  const response = edits || side.readsResponse ? headerPairs(RESPONSE_HEADERS) : 0;
  if (edits && !beginBody(settings, exchange, RESPONSE_HEADERS, response)) return PAUSE;
  const request = side.readsRequest ? headerPairs(REQUEST_HEADERS) : 0;
  applyHeaders(side, RESPONSE_HEADERS, request, response);
  const cors = settings.cors;
  if (cors !== null) corsResponse(cors, exchange);
  return CONTINUE;
}

function applyHeaders(side: Side, map: i32, request: usize, response: usize): void {
  for (let i = 0; i < side.headers.length; i++) applyHeader(unchecked(side.headers[i]), map, request, response);
}

function applyHeader(op: HeaderOp, map: i32, request: usize, response: usize): void {
  if (op.op == REMOVE) {
    removeHeader(map, op.name);
    return;
  }
  if (op.op == RENAME) {
    const pairs = map == REQUEST_HEADERS ? request : response;
    rewind(pairs);
    let any = false;
    while (nextNamed(op.name)) {
      any = true;
      addHeader(map, op.to, value, valueLength);
    }
    if (any) removeHeader(map, op.name);
    return;
  }
  let from: usize;
  let length: usize;
  if (op.template.constant) {
    const text = unchecked(op.template.parts[0]).bytes;
    from = changetype<usize>(text);
    length = text.length;
  } else {
    w.begin(256);
    op.template.write(request, response);
    from = w.start();
    length = w.size();
  }
  if (op.op == ADD) addHeader(map, op.name, from, length);
  else setHeader(map, op.name, from, length);
}

// ---------------------------------------------------------------- bodies

/** Is the body ours to edit? False: the request is refused. The length changes, so the field that states it goes. */
function beginBody(settings: Settings, exchange: Exchange, map: i32, pairs: usize): bool {
  if (!saysJson(pairs)) return true;
  if (find(pairs, CONTENT_ENCODING) && !sameLower(value, valueLength, IDENTITY)) return !settings.refuse || refuseHead(map, exchange, BAD, 415);
  if (find(pairs, CONTENT_LENGTH)) {
    let announced: i64 = 0;
    for (let i: usize = 0; i < valueLength && i < 18; i++) announced = announced * 10 + (load<u8>(value + i) - 0x30);
    if (announced > settings.maxBodyBytes) return !settings.refuse || refuseHead(map, exchange, TOO_LARGE, 413);
    removeHeader(map, CONTENT_LENGTH);
  }
  exchange.b |= map == REQUEST_HEADERS ? EDIT_REQUEST : EDIT_RESPONSE;
  return true;
}

/** Answers instead; an upstream's body that cannot be edited is the upstream's fault. */
function refuseHead(map: i32, exchange: Exchange, text: ByteString, status: i32): bool {
  count(badBodyMetric);
  exchange.b |= ANSWERED;
  beginReply();
  replyHeader(CONTENT_TYPE, changetype<usize>(TEXT), TEXT.length);
  sendReply(map == REQUEST_HEADERS ? status : 502, DETAILS, changetype<usize>(text), text.length);
  return false;
}

/**
 * Whether any Content-Type, and any element of one, says JSON: readers of a message with several disagree about which counts, so
 * that a second one must not take the body out of reach.
 */
function saysJson(pairs: usize): bool {
  rewind(pairs);
  while (nextNamed(CONTENT_TYPE)) {
    let start: usize = 0;
    for (let at: usize = 0; at <= valueLength; at++) {
      if (at < valueLength && load<u8>(value + at) != 0x2c) continue;
      while (start < at && (load<u8>(value + start) == 0x20 || load<u8>(value + start) == 9)) start++;
      if (isJsonType(value + start, at - start)) return true;
      start = at + 1;
    }
  }
  return false;
}

/** `application/json` or `…+json`, whatever parameters follow. */
function isJsonType(from: usize, length: usize): bool {
  let end: usize = 0;
  while (end < length && load<u8>(from + end) != 0x3b) end++;
  while (end > 0 && (load<u8>(from + end - 1) == 0x20 || load<u8>(from + end - 1) == 9)) end--;
  if (sameLower(from, end, JSON)) return true;
  return end > 5 && sameLower(from + end - 5, 5, PLUS_JSON);
}

export function proxy_on_request_body(id: u32, size: i32, end: i32): i32 {
  return onBody(id, EDIT_REQUEST, size, end != 0);
}
export function proxy_on_response_body(id: u32, size: i32, end: i32): i32 {
  return onBody(id, EDIT_RESPONSE, size, end != 0);
}
// A body may also end with trailers.
export function proxy_on_request_trailers(id: u32, trailers: i32): i32 {
  return onBody(id, EDIT_REQUEST, -1, true);
}
export function proxy_on_response_trailers(id: u32, trailers: i32): i32 {
  return onBody(id, EDIT_RESPONSE, -1, true);
}

function onBody(id: u32, bit: i32, size: i32, end: bool): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  if (bit == EDIT_RESPONSE && (exchange.b & DROP_RESPONSE) != 0) return dropBody();
  if ((exchange.b & bit) == 0) return CONTINUE;
  const settings = all[exchange.settings];
  if (settings === null) return unreachable();
  if (!end && size <= settings.maxBodyBytes) return PAUSE;
  exchange.b &= ~bit;
  const buffer = bit == EDIT_REQUEST ? REQUEST_BODY : RESPONSE_BODY;
  if (size > settings.maxBodyBytes) return refuseBody(settings, exchange, bit, size, TOO_LARGE, 413);
  if (!bufferBytes(buffer, settings.maxBodyBytes + 1) || outLength() == 0) return CONTINUE;
  const length = <i32>outLength();
  if (length > settings.maxBodyBytes) return refuseBody(settings, exchange, bit, length, TOO_LARGE, 413);
  const side = bit == EDIT_REQUEST ? settings.request : settings.response;
  if (!edit(out(), length, side.json)) return refuseBody(settings, exchange, bit, length, BAD, 400);
  // A host that does not take the new body must not pass on the old one.
  if (!replaceBuffer(buffer, length, editedText(), editedLength())) unreachable();
  return CONTINUE;
}

/** Passes the body as it is, or refuses the request; an answer's head is out already, so its body is taken away. */
function refuseBody(settings: Settings, exchange: Exchange, bit: i32, size: i32, text: ByteString, status: i32): i32 {
  count(badBodyMetric);
  if (!settings.refuse) return CONTINUE;
  if (bit == EDIT_RESPONSE) {
    exchange.b |= DROP_RESPONSE;
    return dropBody();
  }
  exchange.b |= ANSWERED;
  beginReply();
  replyHeader(CONTENT_TYPE, changetype<usize>(TEXT), TEXT.length);
  sendReply(status, DETAILS, changetype<usize>(text), text.length);
  return PAUSE;
}

function dropBody(): i32 {
  if (!replaceBuffer(RESPONSE_BODY, i32.MAX_VALUE, 0, 0)) unreachable();
  return CONTINUE;
}

export function proxy_on_delete(id: u32): void {
  arenaReset();
  const settings = closeContext(id);
  if (settings >= 0) all[settings] = null;
}
