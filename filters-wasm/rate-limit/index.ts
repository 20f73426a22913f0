import { parseAddressPort, ADDRESS, isV4 } from "../sdk/address";
import { principal, routeName, SOURCE_ADDRESS } from "../sdk/attributes";
import { closeContext, Exchange, exchangeOf, setNote, setRoot } from "../sdk/contexts";
import {
  addToAnswer, CONTEXTS, ON_REQUEST_REST, ON_RESPONSE_HEADERS, ON_RESPONSE_REST, skipCallbacks,
} from "../sdk/extensions";
import {
  addHeader, CONTINUE, count, Counter, counter, find, headerPairs, headerValue, logDebug, logInfo, nextNamed, out, outLength, PAUSE, property, REQUEST_HEADERS,
  RESPONSE_HEADERS, rewind, value, valueLength,
} from "../sdk/host";
import { arenaReset, ByteString, indexOf, is, startsWith, utf8 } from "../sdk/memory";
import { beginReply, replyHeader, sendReply } from "../sdk/reply";
import { reportProblems, readSettings } from "../sdk/settings";
import * as w from "../sdk/writer";
import { ALLOWED, ask, beginCounters, decide, FULL, level, openCounters, outcome } from "./counters";
import {
  KEY_CLAIM, KEY_CLIENT_IP, KEY_CONSTANT, KEY_HEADER, KEY_HOST, KEY_METHOD, KEY_PATH, KEY_PRINCIPAL, KEY_ROUTE, KeyPart, Limit, MISSING_EMPTY,
  MISSING_REFUSE, parse, Settings, UNITS_PER_SECOND,
} from "./settings";

export { proxy_abi_version_0_2_1, proxy_on_context_create, proxy_on_memory_allocate, proxy_on_vm_start } from "../sdk/abi";

const all: (Settings | null)[] = [];

const METHOD = utf8(":method");
const PATH = utf8(":path");
const AUTHORITY = utf8(":authority");
const RATELIMIT = utf8("ratelimit");
const RATELIMIT_POLICY = utf8("ratelimit-policy");
const RETRY_AFTER = utf8("retry-after");
const CONTENT_TYPE = utf8("content-type");
const DETAILS = utf8("rate_limited");
const SEPARATOR = utf8(", ");
const REMAINING = utf8('";r=');
const RESET = utf8(";t=");
const SHADOW_LOG = utf8("rate limit would refuse (shadow): ");
const REFUSED_LOG = utf8("rate limit refused: ");

let allowedMetric: Counter = 0;
let refusedMetric: Counter = 0;
let shadowMetric: Counter = 0;
let fullMetric: Counter = 0;
/** The host adds our fields to the answer. */
let hostAnswers: bool = false;

/** Limits that were asked about in this call. */
const asked = memory.data(16 * 4, 4);
const increments = memory.data(16 * 8, 8);

export function proxy_on_configure(root: u32, size: i32): i32 {
  arenaReset();
  const json = readSettings(size);
  if (json === null) {
    reportProblems();
    return 0;
  }
  const settings = parse(json);
  if (reportProblems()) return 0;
  openCounters();
  allowedMetric = counter("selvedge_rate_limit_allowed_total");
  refusedMetric = counter("selvedge_rate_limit_refused_total");
  shadowMetric = counter("selvedge_rate_limit_shadow_refused_total");
  fullMetric = counter("selvedge_rate_limit_table_full_total");
  all.push(settings);
  setRoot(root, all.length - 1);
  // What the answer needs is known with the request, so nothing has to be remembered.
  hostAnswers = skipCallbacks(CONTEXTS | ON_REQUEST_REST | ON_RESPONSE_HEADERS | ON_RESPONSE_REST, all.length - 1);
  return 1;
}

export function proxy_on_request_headers(id: u32, headers: i32, end: i32): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  const settings = all[exchange.settings];
  if (settings === null) return unreachable();
  const pairs = settings.needsFields ? headerPairs(REQUEST_HEADERS) : 0;
  let method: usize = 0, methodLength: usize = 0;
  if (settings.needsMethod && headerOf(pairs, METHOD)) {
    method = value;
    methodLength = valueLength;
  }
  let path: usize = 0, pathLength: usize = 0;
  if (settings.needsPath && headerOf(pairs, PATH)) {
    path = value;
    const question = indexOf(path, valueLength, 0x3f);
    pathLength = question < 0 ? valueLength : <usize>question;
  }

  beginCounters();
  let questions = 0;
  const limits = settings.limits;
  for (let i = 0; i < limits.length; i++) {
    const limit = unchecked(limits[i]);
    if (!applies(limit, method, methodLength, path, pathLength)) continue;
    w.begin(512);
    w.text(limit.identity);
    let complete = true;
    for (let k = 0; k < limit.parts.length; k++) {
      if (!writePart(unchecked(limit.parts[k]), pairs, path, pathLength, settings.ipv6Bits)) complete = false;
      w.byte(0);
    }
    if (!complete) {
      if (limit.missing == MISSING_REFUSE && !limit.shadow) return refuseMissing(settings, exchange, limit);
      if (limit.missing != MISSING_EMPTY) continue;
    }
    const increment = limit.interval * costOf(limit, pairs);
    store<i32>(asked + 4 * questions, i);
    store<i64>(increments + 8 * questions, increment);
    questions++;
    ask(w.start(), w.size(), increment, limit.capacity, limit.shadow);
  }
  if (questions == 0) return CONTINUE;
  const allowed = decide();
  if (allowed) {
    logShadow(settings, questions);
    count(allowedMetric);
    if (settings.headers) announce(settings, exchange, questions);
    return CONTINUE;
  }
  count(refusedMetric);
  return refuse(settings, questions);
}

/** A pseudo header, out of the fields if they are there. */
function headerOf(pairs: usize, wanted: ByteString): bool {
  return pairs == 0 ? headerValue(REQUEST_HEADERS, wanted) : find(pairs, wanted);
}

/** Has the limits' state told in the answer. */
function announce(settings: Settings, exchange: Exchange, questions: i32): void {
  writeState(settings, questions);
  const stateLength = w.size();
  if (!hostAnswers) {
    writePolicies(settings, questions);
    exchange.a = <i32>stateLength;
    setNote(exchange, w.start(), <u32>w.size());
    return;
  }
  const state = w.start();
  const policies = settings.policies;
  if (questions == settings.limits.length) {
    addToAnswer(RATELIMIT, state, stateLength, RATELIMIT_POLICY, changetype<usize>(policies), policies.length);
    return;
  }
  w.begin(512);
  writePolicies(settings, questions);
  addToAnswer(RATELIMIT, state, stateLength, RATELIMIT_POLICY, w.start(), w.size());
}

function applies(limit: Limit, method: usize, methodLength: usize, path: usize, pathLength: usize): bool {
  if (limit.pathPrefix.length > 0) {
    if (!startsWith(path, pathLength, limit.pathPrefix)) return false;
    // By segments: /a covers /a and /a/b, not /ab.
    const next = <usize>limit.pathPrefix.length;
    if (limit.pathPrefix[limit.pathPrefix.length - 1] != 0x2f && pathLength > next && load<u8>(path + next) != 0x2f) return false;
  }
  if (limit.methods.length == 0) return true;
  for (let i = 0; i < limit.methods.length; i++) if (is(method, methodLength, unchecked(limit.methods[i]))) return true;
  return false;
}

/** Writes one part of a key, led by its length so that no two keys are written alike; false when it is missing. */
function writePart(part: KeyPart, pairs: usize, path: usize, pathLength: usize, ipv6Bits: i32): bool {
  switch (part.kind) {
    case KEY_CLIENT_IP: {
      if (!property(SOURCE_ADDRESS) || !parseAddressPort(out(), outLength())) return false;
      if (!isV4) maskAddress(ipv6Bits);
      w.bytes(ADDRESS, 16);
      return true;
    }
    case KEY_HEADER: {
      // Every value counts: who sends two cannot hide the first.
      rewind(pairs);
      let found = false;
      while (nextNamed(part.bytes)) {
        found = true;
        w.u32le(<u32>valueLength);
        w.bytes(value, valueLength);
      }
      return found;
    }
    case KEY_ROUTE:
      return writeOut(routeName());
    case KEY_PRINCIPAL:
      return writeOut(principal());
    case KEY_CLAIM:
      return writeOut(property(part.bytes) && outLength() > 0);
    case KEY_PATH: {
      w.u32le(<u32>pathLength);
      w.bytes(path, pathLength);
      return true;
    }
    case KEY_METHOD:
      return writeHeader(pairs, METHOD);
    case KEY_HOST:
      return writeHeader(pairs, AUTHORITY);
    case KEY_CONSTANT: {
      w.text(part.bytes);
      return true;
    }
    default:
      return false;
  }
}

function writeOut(found: bool): bool {
  if (!found) return false;
  w.u32le(<u32>outLength());
  w.bytes(out(), outLength());
  return true;
}

function writeHeader(pairs: usize, name: ByteString): bool {
  if (!headerOf(pairs, name)) return false;
  w.u32le(<u32>valueLength);
  w.bytes(value, valueLength);
  return true;
}

function maskAddress(bits: i32): void {
  for (let i = 0; i < 16; i++) {
    const left = bits - 8 * i;
    if (left >= 8) continue;
    const mask: u32 = left <= 0 ? 0 : 0xff << (8 - left);
    store<u8>(ADDRESS + i, load<u8>(ADDRESS + i) & <u8>mask);
  }
}

/** Cost from a header: a plain whole number, at most `max`; anything else is the default. Several values: the largest. */
function costOf(limit: Limit, pairs: usize): i64 {
  const header = limit.costHeader;
  if (header === null) return limit.cost;
  let cost: i64 = -1;
  rewind(pairs);
  while (nextNamed(header)) {
    let number: i64 = 0;
    let fine = valueLength > 0 && valueLength <= 10;
    for (let i: usize = 0; fine && i < valueLength; i++) {
      const digit = load<u8>(value + i) - 0x30;
      if (digit > 9) fine = false;
      number = number * 10 + digit;
    }
    if (fine && number > 0) cost = max(cost, min(number, limit.costMax));
  }
  return cost < 0 ? limit.cost : cost;
}

/** `"name";r=50;t=30` of every limit. */
function writeState(settings: Settings, questions: i32): void {
  w.begin(512);
  for (let q = 0; q < questions; q++) {
    const limit = settings.limits[load<i32>(asked + 4 * q)];
    if (q > 0) w.text(SEPARATOR);
    w.byte(0x22);
    w.text(limit.name);
    w.text(REMAINING);
    w.decimal(max(0, limit.capacity - level(q)) / limit.interval);
    w.text(RESET);
    w.decimal((max(0, level(q)) + UNITS_PER_SECOND - 1) / UNITS_PER_SECOND);
  }
}

/** Appends the policies. */
function writePolicies(settings: Settings, questions: i32): void {
  for (let q = 0; q < questions; q++) {
    if (q > 0) w.text(SEPARATOR);
    w.text(settings.limits[load<i32>(asked + 4 * q)].policy);
  }
}

function logShadow(settings: Settings, questions: i32): void {
  for (let q = 0; q < questions; q++) {
    if (outcome(q) == ALLOWED) continue;
    const limit = settings.limits[load<i32>(asked + 4 * q)];
    count(shadowMetric);
    w.begin(128);
    w.text(SHADOW_LOG);
    w.text(limit.name);
    logInfo(w.start(), w.size());
  }
}

function refuse(settings: Settings, questions: i32): i32 {
  let waitUnits: i64 = 1;
  w.begin(128);
  w.text(REFUSED_LOG);
  for (let q = 0; q < questions; q++) {
    const limit = settings.limits[load<i32>(asked + 4 * q)];
    if (outcome(q) == ALLOWED || limit.shadow) continue;
    if (outcome(q) == FULL) count(fullMetric);
    waitUnits = max(waitUnits, level(q) + load<i64>(increments + 8 * q) - limit.capacity);
    w.text(limit.name);
    w.byte(0x20);
  }
  logDebug(w.start(), w.size());
  beginReply();
  w.begin(24);
  w.decimal((waitUnits + UNITS_PER_SECOND - 1) / UNITS_PER_SECOND);
  replyHeader(RETRY_AFTER, w.start(), w.size());
  if (settings.headers) {
    writeState(settings, questions);
    replyHeader(RATELIMIT, w.start(), w.size());
    w.begin(512);
    writePolicies(settings, questions);
    replyHeader(RATELIMIT_POLICY, w.start(), w.size());
  }
  replyHeader(CONTENT_TYPE, changetype<usize>(settings.contentType), settings.contentType.length);
  sendReply(settings.status, DETAILS, changetype<usize>(settings.body), settings.body.length);
  return PAUSE;
}

/** The key cannot be made and the limit says `refuse`. */
function refuseMissing(settings: Settings, exchange: Exchange, limit: Limit): i32 {
  count(refusedMetric);
  w.begin(128);
  w.text(REFUSED_LOG);
  w.text(limit.name);
  w.text(MISSING_LOG);
  logDebug(w.start(), w.size());
  beginReply();
  replyHeader(CONTENT_TYPE, changetype<usize>(settings.contentType), settings.contentType.length);
  sendReply(settings.status, DETAILS, changetype<usize>(settings.body), settings.body.length);
  return PAUSE;
}

const MISSING_LOG = utf8(" (its key is missing)");

export function proxy_on_response_headers(id: u32, headers: i32, end: i32): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  if (exchange.noteLength == 0) return CONTINUE;
  addHeader(RESPONSE_HEADERS, RATELIMIT, exchange.note, exchange.a);
  addHeader(RESPONSE_HEADERS, RATELIMIT_POLICY, exchange.note + exchange.a, exchange.noteLength - exchange.a);
  exchange.noteLength = 0;
  return CONTINUE;
}

export function proxy_on_delete(id: u32): void {
  arenaReset();
  const settings = closeContext(id);
  if (settings >= 0) all[settings] = null;
}
