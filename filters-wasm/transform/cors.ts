import { Exchange, setNote } from "../sdk/contexts";
import { addHeader, find, nextNamed, removeHeader, RESPONSE_HEADERS, rewind, setHeader, value, valueLength } from "../sdk/host";
import { ByteString, is, same, startsWith, utf8 } from "../sdk/memory";
import { beginReply, replyHeader, sendReply } from "../sdk/reply";
import { Cors } from "./settings";

/** Cross-origin resource sharing (https://fetch.spec.whatwg.org/#http-cors-protocol). */

const ORIGIN = utf8("origin");
const METHOD = utf8(":method");
const REQUEST_METHOD = utf8("access-control-request-method");
const ALLOW_ORIGIN = utf8("access-control-allow-origin");
const ALLOW_METHODS = utf8("access-control-allow-methods");
const ALLOW_HEADERS = utf8("access-control-allow-headers");
const ALLOW_CREDENTIALS = utf8("access-control-allow-credentials");
const EXPOSE = utf8("access-control-expose-headers");
const MAX_AGE = utf8("access-control-max-age");
const VARY = utf8("vary");
const VARY_ORIGIN = utf8("origin");
const VARY_PREFLIGHT = utf8("origin, access-control-request-method, access-control-request-headers");
const OPTIONS = utf8("OPTIONS");
const TRUE = utf8("true");
const STAR = utf8("*");
const PREFLIGHT = utf8("cors_preflight");

/** Looks at the request; true: it was a preflight and is answered. Remembers an origin that is allowed. */
export function corsRequest(cors: Cors, exchange: Exchange, pairs: usize): bool {
  rewind(pairs);
  if (!nextNamed(ORIGIN)) return false;
  const origin = value;
  const length = valueLength;
  // Two origins are none.
  const single = !nextNamed(ORIGIN);
  const allowed = single && (cors.any || originAllowed(cors, origin, length));
  const preflight = find(pairs, METHOD) && is(value, valueLength, OPTIONS) && find(pairs, REQUEST_METHOD);
  if (!preflight) {
    if (allowed) setNote(exchange, origin, <u32>length);
    return false;
  }
  beginReply();
  if (allowed) {
    replyOrigin(cors, origin, length);
    replyText(ALLOW_METHODS, cors.methods);
    replyText(ALLOW_HEADERS, cors.headers);
    replyText(MAX_AGE, cors.maxAge);
  }
  replyHeader(VARY, changetype<usize>(VARY_PREFLIGHT), VARY_PREFLIGHT.length);
  sendReply(allowed ? 204 : 403, PREFLIGHT, 0, 0);
  return true;
}

function replyText(name: ByteString, text: ByteString): void {
  if (text.length > 0) replyHeader(name, changetype<usize>(text), text.length);
}

function replyOrigin(cors: Cors, origin: usize, length: usize): void {
  if (cors.any) replyText(ALLOW_ORIGIN, STAR);
  else replyHeader(ALLOW_ORIGIN, origin, length);
  if (cors.credentials) replyText(ALLOW_CREDENTIALS, TRUE);
}

function originAllowed(cors: Cors, origin: usize, length: usize): bool {
  for (let i = 0; i < cors.origins.length; i++) if (is(origin, length, unchecked(cors.origins[i]))) return true;
  for (let i = 0; i + 1 < cors.wild.length; i += 2) {
    const scheme = unchecked(cors.wild[i]);
    const suffix = unchecked(cors.wild[i + 1]);
    const least: usize = scheme.length + suffix.length;
    if (length <= least || !startsWith(origin, length, scheme)) continue;
    if (!same(origin + length - suffix.length, suffix.length, changetype<usize>(suffix), suffix.length)) continue;
    if (isLabels(origin + scheme.length, length - least)) return true;
  }
  return false;
}

/** Letters, digits, hyphens and dots only: no port, no user, nothing that ends the host early. */
function isLabels(from: usize, length: usize): bool {
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(from + i);
    if (!((c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || c == 0x2d || c == 0x2e)) return false;
  }
  return true;
}

/** Answers for the origin: what the upstream said about sharing is replaced. */
export function corsResponse(cors: Cors, exchange: Exchange): void {
  removeHeader(RESPONSE_HEADERS, ALLOW_ORIGIN);
  removeHeader(RESPONSE_HEADERS, ALLOW_CREDENTIALS);
  removeHeader(RESPONSE_HEADERS, EXPOSE);
  if (!cors.any) addHeader(RESPONSE_HEADERS, VARY, changetype<usize>(VARY_ORIGIN), VARY_ORIGIN.length);
  if (exchange.noteLength == 0) return;
  if (cors.any) setHeader(RESPONSE_HEADERS, ALLOW_ORIGIN, changetype<usize>(STAR), STAR.length);
  else setHeader(RESPONSE_HEADERS, ALLOW_ORIGIN, exchange.note, exchange.noteLength);
  if (cors.credentials) setHeader(RESPONSE_HEADERS, ALLOW_CREDENTIALS, changetype<usize>(TRUE), TRUE.length);
  if (cors.expose.length > 0) setHeader(RESPONSE_HEADERS, EXPOSE, changetype<usize>(cors.expose), cors.expose.length);
}
