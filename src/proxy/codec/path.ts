import type { PathPolicyConfig } from "../../config/snapshot.ts";
import { Failure } from "../../core/failure.ts";
import { ENCODED, HEX, PATH, QUERY } from "./chars.ts";

/** A request target's path and query after normalisation. */
export interface NormalPath {
  readonly path: string;
  /** Without `?`; undefined when there was none. */
  readonly query: string | undefined;
}

const PERCENT = 0x25;
const SLASH = 0x2f;
const DOT = 0x2e;
const SEMICOLON = 0x3b;
const QUESTION = 0x3f;

/**
 * Normalises an origin-form target (RFC 3986 §6.2.2, RFC 9110 §4.2.3), once, so that routing, policy, filters and upstream
 * see the same bytes. What servers are known to read in different ways is refused (`bad_path`).
 *
 * | in the path | becomes |
 * |---|---|
 * | `%7e`, `%41` (unreserved) | `~`, `A` |
 * | `%c3%a9`, `%20`, `%3f`, `%23` | kept, in upper case (`%C3%A9`), never decoded |
 * | raw `" < > [ ] ^ { }`, backtick, bar | percent-encoded |
 * | `.` and `..` segments, also as `%2e` | removed; `..` above the root: refused |
 * | `//` | policy `doubleSlash`: merged, refused or kept |
 * | `%2f`, `%5c` | policy `encodedSlash`: refused, or kept (in upper case); beside `.` or `..` always refused |
 * | `;`, `%3b` | policy `semicolon`: refused, or kept |
 * | `..;`, `.;x` (a dot segment to servers that cut parameters off) | refused |
 * | `%` without two hex digits, `%25` in front of two hex digits, also encoded ones (a second layer of encoding) | refused |
 * | `%00` to `%1f`, `%7f` | refused |
 * | overlong UTF-8 (`%c0%af`, `%e0%80%af`, `%f0%80%80%af`) | refused |
 * | raw backslash, `#`, control bytes, bytes above 0x7e | refused |
 * | `/api../admin` | kept: `api..` is a name |
 *
 * The query is kept byte for byte; bytes other than visible ASCII, and `#`, are refused.
 */
export function normalisePath(target: string, policy: PathPolicyConfig): NormalPath | Failure {
  const length = target.length;
  // Not reachable through the codec.
  if (target.charCodeAt(0) !== SLASH) return refused("does not start with a slash");
  const pathEnd = findNormalPathEnd(target, 0, length);
  if (pathEnd < 0) return normaliseSlowly(target, policy);
  if (pathEnd === length) return { path: target, query: undefined };
  if (!isQuery(target, pathEnd + 1, length)) return refused("illegal byte in the query");
  return { path: target.substring(0, pathEnd), query: target.substring(pathEnd + 1) };
}

/**
 * Most paths are normal already: then nothing of them is touched. Where the path that starts with the slash at `start` of `text`
 * ends, at a `?` or at `end`; negative when it must be normalised.
 */
export function findNormalPathEnd(text: string, start: number, end: number): number {
  let previous = SLASH;
  for (let at = start + 1; at < end; at++) {
    const code = text.charCodeAt(at);
    if (PATH[code] !== 1) return code === QUESTION ? at : -1;
    if (code === SEMICOLON) return -1;
    if (previous === SLASH && (code === SLASH || code === DOT)) return -1;
    previous = code;
  }
  return end;
}

/** The same for a target that a rewrite or a filter made. */
export function renormalisePath(target: string, policy: PathPolicyConfig): NormalPath | Failure {
  return normalisePath(target, policy);
}

function normaliseSlowly(target: string, policy: PathPolicyConfig): NormalPath | Failure {
  const mark = target.indexOf("?");
  const raw = mark < 0 ? target : target.substring(0, mark);
  const query = mark < 0 ? undefined : target.substring(mark + 1);
  if (query !== undefined && !isQuery(query, 0, query.length)) return refused("illegal byte in the query");
  const decoded = decode(raw, policy);
  if (decoded instanceof Failure) return decoded;
  const path = removeDots(decoded, policy);
  return path instanceof Failure ? path : { path, query };
}

const refused = (detail: string): Failure => new Failure("bad_path", detail);

/** May `text` from `start` to `end` stand behind the `?`? */
export function isQuery(text: string, start: number, end: number): boolean {
  for (let at = start; at < end; at++) if (QUERY[text.charCodeAt(at)] !== 1) return false;
  return true;
}

/** One layer of percent-encoding: what is unreserved is decoded, everything else has one spelling. */
function decode(raw: string, policy: PathPolicyConfig): string | Failure {
  let decoded = "";
  for (let i = 0; i < raw.length; i++) {
    const code = raw.charCodeAt(i);
    if (code !== PERCENT) {
      if (code === SEMICOLON && policy.semicolon === "reject") return refused("semicolon");
      if (PATH[code] === 1) decoded += raw[i];
      else if (PATH[code] === 2) decoded += percent(code);
      else return refused("illegal byte in the path");
      continue;
    }
    const byte = byteAt(raw, i);
    const failure = checkEncoded(byte, raw, i, policy);
    if (failure !== undefined) return failure;
    decoded += ENCODED[byte] === 2 ? String.fromCharCode(byte) : percent(byte);
    i += 2;
  }
  // What was one percent may stand in front of digits now that those are decoded (`%25%32%65`).
  for (let i = decoded.indexOf("%25"); i >= 0; i = decoded.indexOf("%25", i + 3)) {
    if (isHex(decoded, i + 3) && isHex(decoded, i + 4)) return refused("doubly encoded");
  }
  return decoded;
}

function checkEncoded(byte: number, raw: string, at: number, policy: PathPolicyConfig): Failure | undefined {
  if (byte < 0) return refused("malformed percent-encoding");
  if (ENCODED[byte] === 0) return refused("encoded control byte");
  if ((byte === SLASH || byte === 0x5c) && policy.encodedSlash === "reject") return refused("encoded slash");
  if (byte === SEMICOLON && policy.semicolon === "reject") return refused("encoded semicolon");
  if (byte === 0xc0 || byte === 0xc1) {
    if (isBetween(byteAt(raw, at + 3), 0x80, 0xbf)) return refused("overlong UTF-8");
  }
  if (byte === 0xe0 && isBetween(byteAt(raw, at + 3), 0x80, 0x9f)) return refused("overlong UTF-8");
  if (byte === 0xf0 && isBetween(byteAt(raw, at + 3), 0x80, 0x8f)) return refused("overlong UTF-8");
  return undefined;
}

const isBetween = (value: number, from: number, to: number): boolean => value >= from && value <= to;
const isHex = (text: string, at: number): boolean => (HEX[text.charCodeAt(at)] ?? 255) !== 255;
const percent = (byte: number): string => `%${byte < 16 ? "0" : ""}${byte.toString(16).toUpperCase()}`;

/** The byte of `%XX` at `at`; -1 when there is none. */
function byteAt(text: string, at: number): number {
  if (text.charCodeAt(at) !== PERCENT || !isHex(text, at + 1) || !isHex(text, at + 2)) return -1;
  return (HEX[text.charCodeAt(at + 1)] as number) * 16 + (HEX[text.charCodeAt(at + 2)] as number);
}

function removeDots(path: string, policy: PathPolicyConfig): string | Failure {
  const segments = path.split("/");
  const kept: string[] = [];
  const last = segments.length - 1;
  for (let i = 1; i <= last; i++) {
    const segment = segments[i] as string;
    const parameters = segment.search(/;|%3B/);
    if (parameters >= 0 && isDots(segment.substring(0, parameters))) return refused("parameters behind a dot segment");
    if (hidesDots(segment)) return refused("dot segment beside an encoded slash");
    if (segment === "" && i < last) {
      if (policy.doubleSlash === "reject") return refused("double slash");
      if (policy.doubleSlash === "merge") continue;
    }
    if (isDots(segment)) {
      if (segment === ".." && kept.pop() === undefined) return refused("above the root");
      if (i === last) kept.push("");
      continue;
    }
    kept.push(segment);
  }
  return `/${kept.join("/")}`;
}

/** To whoever decodes slashes this segment is several, and one of them is a dot segment. */
function hidesDots(segment: string): boolean {
  const parts = segment.split(/%2F|%5C/);
  return parts.length > 1 && parts.some((part) => isDots(part.split(/;|%3B/)[0] as string));
}

const isDots = (segment: string): boolean => segment === "." || segment === "..";
