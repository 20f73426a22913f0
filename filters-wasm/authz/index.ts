import { ADDRESS, parseAddressPort } from "../sdk/address";
import { element, LIST_MAX, peerIdentity, PRINCIPAL, SOURCE_ADDRESS } from "../sdk/attributes";
import { closeContext, exchangeOf, setNote, setRoot } from "../sdk/contexts";
import { CONTEXTS, ON_REQUEST_REST, ON_RESPONSE_HEADERS, ON_RESPONSE_REST, skipCallbacks } from "../sdk/extensions";
import {
  addHeader, CONTINUE, count, Counter, counter, find, headerPairs, headerValue, logDebug, logInfo, nextNamed, out, outLength, PAUSE, property, removeHeader, REQUEST_HEADERS,
  RESPONSE_HEADERS, rewind, setProperty, value, valueLength,
} from "../sdk/host";
import { arenaAlloc, arenaReset, ByteString, indexOf, is, lower, same, sameSecret, utf8 } from "../sdk/memory";
import { beginReply, replyHeader, sendReply } from "../sdk/reply";
import { reportProblems, readSettings } from "../sdk/settings";
import { hmacSha256, sha256 } from "../sdk/sha256";
import * as w from "../sdk/writer";
import {
  ALLOW, AUDIT, ClaimCondition, DENY, HEADER_ABSENT, HEADER_EXACT, HEADER_PREFIX, HEADER_PRESENT, HeaderCondition, parse, Rule, Settings,
} from "./settings";

export { proxy_abi_version_0_2_1, proxy_on_context_create, proxy_on_memory_allocate, proxy_on_vm_start } from "../sdk/abi";

const all: (Settings | null)[] = [];

const METHOD = utf8(":method");
const PATH = utf8(":path");
const AUTHORITY = utf8(":authority");
const REASON = utf8("x-selvedge-authz-reason");
const CONTENT_TYPE = utf8("content-type");
const TEXT = utf8("text/plain; charset=utf-8");
/** Of a refusal because no rule allows it. */
const DETAILS = utf8("access_denied");
const API_KEY = utf8("apikey:");
const DENIED_BY = utf8("denied by rule ");
const NO_ALLOW = utf8("no allow rule matched");
const ALLOWED_BY = utf8("allowed by rule ");
const NO_DENY = utf8("no deny rule matched");
const AUDITED = utf8("audit rule matched: ");

let allowedMetric: Counter = 0;
let deniedMetric: Counter = 0;
let auditMetric: Counter = 0;

// The request under decision.
let pairs: usize = 0;
let method: usize = 0;
let methodLength: usize = 0;
let path: usize = 0;
let pathLength: usize = 0;
let host: usize = 0;
let hostLength: usize = 0;
let hasSource: bool = false;
let identity: usize = 0;
let identityLength: usize = 0;
/** Index of the API key presented; -1: none or unknown. */
let apiKey: i32 = -1;
const HASH = memory.data(32, 8);

export function proxy_on_configure(root: u32, size: i32): i32 {
  arenaReset();
  const json = readSettings(size);
  if (json === null) {
    reportProblems();
    return 0;
  }
  const settings = parse(json);
  if (reportProblems()) return 0;
  allowedMetric = counter("selvedge_authz_allowed_total");
  deniedMetric = counter("selvedge_authz_denied_total");
  auditMetric = counter("selvedge_authz_audit_total");
  all.push(settings);
  setRoot(root, all.length - 1);
  const skipped = ON_REQUEST_REST | ON_RESPONSE_REST;
  skipCallbacks(settings.explain ? skipped : skipped | CONTEXTS | ON_RESPONSE_HEADERS, all.length - 1);
  return 1;
}

export function proxy_on_request_headers(id: u32, headers: i32, end: i32): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  const settings = all[exchange.settings];
  if (settings === null) return unreachable();
  readRequest(settings);
  audit(settings);
  const denied = firstMatch(settings, DENY);
  const allowed = denied >= 0 || !settings.hasAllow ? -1 : firstMatch(settings, ALLOW);
  const passes = denied < 0 && (allowed >= 0 || !settings.hasAllow);
  if (passes && !settings.explain) return pass(settings);
  w.begin(128);
  if (denied >= 0) {
    w.text(DENIED_BY);
    w.text(settings.rules[denied].name);
  } else if (allowed >= 0) {
    w.text(ALLOWED_BY);
    w.text(settings.rules[allowed].name);
  } else w.text(settings.hasAllow ? NO_ALLOW : NO_DENY);
  if (passes) {
    setNote(exchange, w.start(), <u32>w.size());
    return pass(settings);
  }
  count(deniedMetric);
  logDebug(w.start(), w.size());
  beginReply();
  replyHeader(CONTENT_TYPE, changetype<usize>(TEXT), TEXT.length);
  if (settings.explain) replyHeader(REASON, w.start(), w.size());
  sendReply(settings.status, denied >= 0 ? settings.rules[denied].details : DETAILS, changetype<usize>(settings.body), settings.body.length);
  return PAUSE;
}

function pass(settings: Settings): i32 {
  count(allowedMetric);
  if (settings.apiKeys.length > 0 && !settings.forwardKey) removeHeader(REQUEST_HEADERS, settings.keyHeader);
  return CONTINUE;
}

function readRequest(settings: Settings): void {
  pairs = settings.needsFields ? headerPairs(REQUEST_HEADERS) : 0;
  methodLength = pathLength = hostLength = 0;
  if (settings.needsMethod && headerOf(METHOD)) {
    method = value;
    methodLength = valueLength;
  }
  if (settings.needsPath && headerOf(PATH)) {
    path = value;
    const question = indexOf(path, valueLength, 0x3f);
    pathLength = question < 0 ? valueLength : <usize>question;
  }
  if (settings.needsHost && headerOf(AUTHORITY)) {
    host = value;
    hostLength = hostEnd(host, valueLength);
  }
  hasSource = settings.needsSource && property(SOURCE_ADDRESS) && parseAddressPort(out(), outLength());
  identityLength = 0;
  if (settings.needsPrincipal || settings.apiKeys.length > 0) readPrincipal(settings);
}

/** A pseudo header, out of the fields if they are there. */
function headerOf(wanted: ByteString): bool {
  return pairs == 0 ? headerValue(REQUEST_HEADERS, wanted) : find(pairs, wanted);
}

/** Length of a host without its port and without a trailing dot. */
function hostEnd(from: usize, length: usize): usize {
  let end = length;
  if (length > 0 && load<u8>(from + length - 1) != 0x5d) {
    for (let i = length; i > 0; i--) {
      const byte = load<u8>(from + i - 1);
      if (byte == 0x3a) {
        end = i - 1;
        break;
      }
      if (byte < 0x30 || byte > 0x39) break;
    }
  }
  return end > 0 && load<u8>(from + end - 1) == 0x2e ? end - 1 : end;
}

/** The API key, else the peer's certificate, else what the host verified (a token); exported for the filters behind this one. */
function readPrincipal(settings: Settings): void {
  apiKey = findApiKey(settings);
  if (apiKey >= 0) {
    const own = settings.apiKeys[apiKey].id;
    identityLength = API_KEY.length + own.length;
    identity = arenaAlloc(identityLength);
    memory.copy(identity, changetype<usize>(API_KEY), API_KEY.length);
    memory.copy(identity + API_KEY.length, changetype<usize>(own), own.length);
  } else if (peerIdentity() || (property(PRINCIPAL) && outLength() > 0)) {
    identity = out();
    identityLength = outLength();
  }
  if (identityLength > 0) setProperty(PRINCIPAL, identity, identityLength);
}

/** Looks at every key whatever is found, so that the time tells nothing. A repeated header is no key. */
function findApiKey(settings: Settings): i32 {
  if (settings.apiKeys.length == 0) return -1;
  rewind(pairs);
  if (!nextNamed(settings.keyHeader)) return -1;
  const given = value;
  const givenLength = valueLength;
  if (nextNamed(settings.keyHeader)) return -1;
  const plain = arenaAlloc(32);
  sha256(given, givenLength, plain);
  let found = -1;
  for (let i = 0; i < settings.apiKeys.length; i++) {
    const key = settings.apiKeys[i];
    const salt = key.salt;
    if (salt !== null) hmacSha256(changetype<usize>(salt), salt.length, given, givenLength, HASH);
    else memory.copy(HASH, plain, 32);
    found = select<i32>(i, found, sameSecret(HASH, changetype<usize>(key.hash), 32));
  }
  return found;
}

function audit(settings: Settings): void {
  for (let i = 0; i < settings.rules.length; i++) {
    const rule = unchecked(settings.rules[i]);
    if (rule.effect != AUDIT || !matches(rule)) continue;
    count(auditMetric);
    w.begin(96);
    w.text(AUDITED);
    w.text(rule.name);
    logInfo(w.start(), w.size());
  }
}

function firstMatch(settings: Settings, effect: i32): i32 {
  for (let i = 0; i < settings.rules.length; i++) {
    const rule = unchecked(settings.rules[i]);
    if (rule.effect == effect && matches(rule)) return i;
  }
  return -1;
}

/** All conditions that are given must hold. */
function matches(rule: Rule): bool {
  if (rule.methods.length > 0 && !anyIs(rule.methods, method, methodLength)) return false;
  if (rule.paths.length > 0 && !pathMatches(rule)) return false;
  if (rule.hosts.length > 0 && !hostMatches(rule)) return false;
  for (let i = 0; i < rule.headers.length; i++) if (!headerMatches(unchecked(rule.headers[i]), rule.effect != ALLOW)) return false;
  if (rule.sources.length > 0 && !sourceMatches(rule)) return false;
  if (rule.hasKeys && !(apiKey >= 0 && rule.keys.includes(apiKey))) return false;
  if (rule.principals.length > 0 && !principalMatches(rule)) return false;
  for (let i = 0; i < rule.claims.length; i++) if (!claimMatches(unchecked(rule.claims[i]))) return false;
  return true;
}

function anyIs(wanted: ByteString[], from: usize, length: usize): bool {
  for (let i = 0; i < wanted.length; i++) if (is(from, length, unchecked(wanted[i]))) return true;
  return false;
}

function pathMatches(rule: Rule): bool {
  for (let i = 0; i < rule.paths.length; i++) if (unchecked(rule.paths[i]).matches(path, pathLength)) return true;
  return false;
}

function hostMatches(rule: Rule): bool {
  for (let i = 0; i < rule.hosts.length; i++) {
    const wanted = unchecked(rule.hosts[i]);
    const at = changetype<usize>(wanted);
    if (load<u8>(at) != 0x2a) {
      if (sameHost(host, hostLength, at, wanted.length)) return true;
      continue;
    }
    // *.name: at least one label in front.
    const suffix: usize = wanted.length - 1;
    if (hostLength > suffix && sameHost(host + hostLength - suffix, suffix, at + 1, suffix)) return true;
  }
  return false;
}

function sameHost(a: usize, aLength: usize, b: usize, bLength: usize): bool {
  if (aLength != bLength) return false;
  for (let i: usize = 0; i < aLength; i++) if (lower(load<u8>(a + i)) != load<u8>(b + i)) return false;
  return true;
}

/**
 * Every value of the header is looked at. A deny (or audit) condition holds when any value fits, or any member of one that is a list
 * (RFC 9110 §5.3: several fields and one list say the same), so nothing that stands beside a forbidden value can hide it; an allow
 * condition holds when there is a value and all of them fit, as they are and (a prefix) in each member, so nothing can ride along.
 */
function headerMatches(condition: HeaderCondition, any: bool): bool {
  let seen = false;
  rewind(pairs);
  while (nextNamed(condition.name)) {
    seen = true;
    if (condition.kind == HEADER_PRESENT) return true;
    if (condition.kind == HEADER_ABSENT) return false;
    const fits = valueFits(condition, value, valueLength);
    if (any && (fits || (condition.list && countFitting(condition) > 0))) return true;
    if (!any && !(fits && (condition.kind == HEADER_EXACT || !condition.list || countFitting(condition) == members))) return false;
  }
  if (condition.kind == HEADER_ABSENT) return !seen;
  return seen && !any;
}

function valueFits(condition: HeaderCondition, from: usize, length: usize): bool {
  const wanted = changetype<usize>(condition.value);
  const size: usize = condition.value.length;
  if (condition.kind == HEADER_EXACT ? length != size : length < size) return false;
  return condition.ignoreCase ? sameHost(from, size, wanted, size) : same(from, size, wanted, size);
}

/** How many members the value has, taken as a list with commas; set by `countFitting`. */
let members: i32 = 0;

/** How many of them fit. */
function countFitting(condition: HeaderCondition): i32 {
  let fitting = 0;
  members = 0;
  const end = value + valueLength;
  let start = value;
  for (let at = start; at <= end; at++) {
    if (at < end && load<u8>(at) != 0x2c) continue;
    let from = start;
    let to = at;
    while (from < to && isBlank(load<u8>(from))) from++;
    while (to > from && isBlank(load<u8>(to - 1))) to--;
    members++;
    if (valueFits(condition, from, to - from)) fitting++;
    start = at + 1;
  }
  return fitting;
}

function isBlank(byte: u8): bool {
  return byte == 0x20 || byte == 0x09;
}

function sourceMatches(rule: Rule): bool {
  // Who cannot be placed is not let in by an address, and not let off by one.
  if (!hasSource) return rule.effect == DENY;
  for (let i = 0; i < rule.sources.length; i++) if (unchecked(rule.sources[i]).contains()) return true;
  return false;
}

function principalMatches(rule: Rule): bool {
  if (identityLength == 0) return false;
  for (let i = 0; i < rule.principals.length; i++) {
    const wanted = unchecked(rule.principals[i]);
    const size: usize = wanted.length;
    if (load<u8>(changetype<usize>(wanted) + size - 1) != 0x2a) {
      if (is(identity, identityLength, wanted)) return true;
    } else if (identityLength >= size - 1 && same(identity, size - 1, changetype<usize>(wanted), size - 1)) return true;
  }
  return false;
}

/** A scalar claim is one of the values, or a list has one of them among its first `LIST_MAX` elements. */
function claimMatches(condition: ClaimCondition): bool {
  if (!property(condition.path)) return false;
  if (anyIs(condition.oneOf, out(), outLength())) return true;
  for (let i = 0; i < LIST_MAX; i++) {
    if (!element(condition.path, i)) return false;
    if (anyIs(condition.oneOf, out(), outLength())) return true;
  }
  return false;
}

export function proxy_on_response_headers(id: u32, headers: i32, end: i32): i32 {
  arenaReset();
  const exchange = exchangeOf(id);
  if (exchange.noteLength == 0) return CONTINUE;
  addHeader(RESPONSE_HEADERS, REASON, exchange.note, exchange.noteLength);
  exchange.noteLength = 0;
  return CONTINUE;
}

export function proxy_on_delete(id: u32): void {
  arenaReset();
  const settings = closeContext(id);
  if (settings >= 0) all[settings] = null;
}
