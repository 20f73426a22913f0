import { bufferBytes, logError, out, outLength, PLUGIN_CONFIGURATION } from "./host";
import { decodeString, isJson, skipBlank, skipString, skipValue } from "./json-scan";
import { ByteString, keep, textOf, utf8 } from "./memory";

/**
 * Settings: JSON, read once when the filter is configured. Everything that is wrong is logged with its JSON pointer
 * (RFC 6901) and the filter refuses to start. Unknown keys are wrong.
 */

export const NULL: i32 = 0;
export const BOOL: i32 = 1;
export const NUMBER: i32 = 2;
export const STRING: i32 = 3;
export const ARRAY: i32 = 4;
export const OBJECT: i32 = 5;

export class Json {
  kind: i32 = NULL;
  /** JSON pointer of this value. */
  path: string = "";
  flag: bool = false;
  number: f64 = 0;
  /** Bytes of a string; for other kinds the source text. */
  bytes: ByteString = new StaticArray<u8>(0);
  keys: string[] = [];
  items: Json[] = [];

  get text(): string {
    return textOf(changetype<usize>(this.bytes), this.bytes.length);
  }
}

let problems: i32 = 0;
let report = "";
const PROBLEMS_MAX: i32 = 50;

/** Notes what is wrong; configuring then fails. */
export function problem(path: string, message: string): void {
  if (problems++ >= PROBLEMS_MAX) return;
  report += (report.length == 0 ? "settings " : "; ") + (path.length == 0 ? "(root)" : path) + ": " + message;
}

/** Says everything that is wrong in one line of the log; true when there is something. */
export function reportProblems(): bool {
  if (problems == 0) return false;
  if (problems > PROBLEMS_MAX) report += "; and " + (problems - PROBLEMS_MAX).toString() + " more";
  logError(report);
  return true;
}

/** The settings as a tree; null when there is no JSON object. Forgets earlier problems. */
export function readSettings(size: i32): Json | null {
  problems = 0;
  report = "";
  if (size == 0 || !bufferBytes(PLUGIN_CONFIGURATION, size)) {
    problem("", "no settings given");
    return null;
  }
  const from = out();
  const end = from + outLength();
  if (!isJson(from, end)) {
    problem("", "not well-formed JSON");
    return null;
  }
  const root = build(skipBlank(from, end), end, "");
  if (root.kind == OBJECT) return root;
  problem("", "must be an object");
  return null;
}

function build(p: usize, end: usize, path: string): Json {
  const json = new Json();
  json.path = path;
  const first = load<u8>(p);
  const after = skipValue(p, end);
  json.bytes = keep(p, after - p);
  if (first == 0x22) {
    json.kind = STRING;
    const decoded = heap.alloc(after - p);
    json.bytes = keep(decoded, decodeString(p, after, decoded));
    heap.free(decoded);
  } else if (first == 0x7b) {
    json.kind = OBJECT;
    buildObject(json, p, end);
  } else if (first == 0x5b) {
    json.kind = ARRAY;
    p = skipBlank(p + 1, end);
    while (load<u8>(p) != 0x5d) {
      if (load<u8>(p) == 0x2c) p = skipBlank(p + 1, end);
      json.items.push(build(p, end, path + "/" + json.items.length.toString()));
      p = skipBlank(skipValue(p, end), end);
    }
  } else if (first == 0x74 || first == 0x66) {
    json.kind = BOOL;
    json.flag = first == 0x74;
  } else if (first != 0x6e) {
    json.kind = NUMBER;
    json.number = parseFloat(textOf(p, after - p));
  }
  return json;
}

function buildObject(json: Json, p: usize, end: usize): void {
  p = skipBlank(p + 1, end);
  while (load<u8>(p) != 0x7d) {
    if (load<u8>(p) == 0x2c) p = skipBlank(p + 1, end);
    const keyEnd = skipString(p, end);
    const decoded = heap.alloc(keyEnd - p);
    const key = textOf(decoded, decodeString(p, keyEnd, decoded));
    heap.free(decoded);
    const childPath = json.path + "/" + key.replaceAll("~", "~0").replaceAll("/", "~1");
    if (json.keys.includes(key)) problem(childPath, "given twice");
    p = skipBlank(skipBlank(keyEnd, end) + 1, end);
    json.keys.push(key);
    json.items.push(build(p, end, childPath));
    p = skipBlank(skipValue(p, end), end);
  }
}

// ---------------------------------------------------------------- typed access; each reports what does not fit

/** Reports keys that are not in `allowed` (separated by spaces); false when `json` is no object. */
export function onlyKeys(json: Json, allowed: string): bool {
  if (json.kind != OBJECT) {
    problem(json.path, "must be an object");
    return false;
  }
  const names = allowed.split(" ");
  for (let i = 0; i < json.keys.length; i++) {
    if (!names.includes(json.keys[i])) problem(json.items[i].path, "unknown key; known are: " + names.join(", "));
  }
  return true;
}

export function member(json: Json, key: string): Json | null {
  const i = json.keys.indexOf(key);
  return i < 0 ? null : json.items[i];
}

export function stringOf(json: Json): ByteString {
  if (json.kind != STRING) problem(json.path, "must be a string");
  return json.bytes;
}

export function textMember(json: Json, key: string, fallback: string): string {
  const found = member(json, key);
  if (found === null) return fallback;
  if (found.kind != STRING) problem(found.path, "must be a string");
  return found.text;
}

export function boolMember(json: Json, key: string, fallback: bool): bool {
  const found = member(json, key);
  if (found === null) return fallback;
  if (found.kind != BOOL) problem(found.path, "must be true or false");
  return found.flag;
}

export function integerOf(json: Json, least: f64, most: f64): f64 {
  const number = json.number;
  if (json.kind != NUMBER || number != Math.floor(number) || number < least || number > most) {
    problem(json.path, "must be a whole number from " + (<i64>least).toString() + " to " + (<i64>most).toString());
    return least;
  }
  return number;
}

export function integerMember(json: Json, key: string, fallback: f64, least: f64, most: f64): f64 {
  const found = member(json, key);
  return found === null ? fallback : integerOf(found, least, most);
}

const NONE: Json[] = [];

/** Items of an array member; none when it is absent. */
export function arrayMember(json: Json, key: string): Json[] {
  const found = member(json, key);
  if (found === null) return NONE;
  if (found.kind != ARRAY) {
    problem(found.path, "must be an array");
    return NONE;
  }
  return found.items;
}

/** Strings of an array member. */
export function stringsMember(json: Json, key: string): ByteString[] {
  const strings: ByteString[] = [];
  const items = arrayMember(json, key);
  for (let i = 0; i < items.length; i++) strings.push(stringOf(items[i]));
  return strings;
}

/** A name for people, logs and headers: letters, digits, `.`, `_`, `-`, 1 to 64 of them. */
export function labelMember(json: Json, key: string): ByteString {
  const found = member(json, key);
  if (found === null) {
    problem(json.path + "/" + key, "missing");
    return utf8("");
  }
  const bytes = stringOf(found);
  let fine = bytes.length > 0 && bytes.length <= 64;
  for (let i = 0; i < bytes.length; i++) {
    const c = bytes[i];
    if (!((c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || c == 0x2d || c == 0x2e || c == 0x5f)) fine = false;
  }
  if (!fine) problem(found.path, "must be 1 to 64 letters, digits, '.', '_' or '-'");
  return bytes;
}

/** Is it a header name (RFC 9110 token)? Returned in lower case. */
export function headerName(json: Json): ByteString {
  const bytes = stringOf(json);
  return tokenAt(bytes, 0, json.path);
}

/** The rest of `bytes` from `start` as a lower-case header name. */
export function tokenAt(bytes: ByteString, start: i32, path: string): ByteString {
  const name = new StaticArray<u8>(max(0, bytes.length - start));
  let fine = name.length > 0 && name.length <= 256;
  for (let i = 0; i < name.length; i++) {
    let c = bytes[start + i];
    if (c >= 0x41 && c <= 0x5a) c |= 0x20;
    name[i] = c;
    const letter = (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39);
    if (!letter && !(c == 0x21 || (c >= 0x23 && c <= 0x27) || c == 0x2a || c == 0x2b || c == 0x2d || c == 0x2e || c == 0x5e || c == 0x5f || c == 0x60 || c == 0x7c || c == 0x7e)) fine = false;
  }
  if (!fine) problem(path, "must be a header name");
  return name;
}

/** Bytes that may stand in a header value: no control characters. */
export function headerValue(json: Json): ByteString {
  const bytes = stringOf(json);
  for (let i = 0; i < bytes.length; i++) {
    if ((bytes[i] < 0x20 && bytes[i] != 9) || bytes[i] == 0x7f) {
      problem(json.path, "must not contain control characters");
      break;
    }
  }
  return bytes;
}
