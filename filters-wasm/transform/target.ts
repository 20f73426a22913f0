import { arenaAlloc, ByteString, indexOf, is, same } from "../sdk/memory";
import { hexValue } from "../sdk/json-scan";
import { hasPathPrefix } from "../sdk/path";
import * as w from "../sdk/writer";
import { QueryOp, RENAME, SET, Settings } from "./settings";

/** Rewrites path and query. The result is what the writer holds; false: nothing changes. */
export function rewriteTarget(settings: Settings, target: usize, length: usize, pairs: usize): bool {
  if (length == 0 || load<u8>(target) != 0x2f) return false;
  const question = indexOf(target, length, 0x3f);
  const pathLength = question < 0 ? length : <usize>question;
  let query: usize = question < 0 ? <usize>0 : target + pathLength + 1;
  let queryLength: usize = question < 0 ? <usize>0 : length - pathLength - 1;
  let hasQuery = question >= 0;
  for (let i = 0; i < settings.query.length; i++) {
    rewriteQuery(unchecked(settings.query[i]), query, queryLength, pairs);
    query = w.start();
    queryLength = w.size();
    // A query that is emptied goes with its question mark.
    hasQuery = queryLength > 0;
  }
  w.begin(length + queryLength + settings.prefixTo.length + settings.pathSet.length + 8);
  writePath(settings, target, pathLength);
  if (hasQuery) {
    w.byte(0x3f);
    w.bytes(query, queryLength);
  }
  return !same(target, length, w.start(), w.size());
}

function writePath(settings: Settings, path: usize, length: usize): void {
  if (settings.pathSet.length > 0) {
    w.text(settings.pathSet);
    return;
  }
  const from = settings.prefixFrom;
  if (from.length == 0 || !hasPathPrefix(path, length, from)) {
    w.bytes(path, length);
    return;
  }
  // Exactly one slash between what is put in and what stays.
  let size: usize = from.length;
  if (load<u8>(changetype<usize>(from) + size - 1) == 0x2f) size--;
  const rest = path + size;
  const restLength = length - size;
  const to = settings.prefixTo;
  let toLength: usize = to.length;
  if (restLength > 0 && load<u8>(changetype<usize>(to) + toLength - 1) == 0x2f) toLength--;
  w.bytes(changetype<usize>(to), toLength);
  w.bytes(rest, restLength);
}

function rewriteQuery(op: QueryOp, query: usize, length: usize, pairs: usize): void {
  let value: usize = 0;
  let valueLength: usize = 0;
  if (op.op == SET) {
    w.begin(128);
    op.template.write(pairs, 0);
    value = w.start();
    valueLength = w.size();
  }
  w.begin(length + op.name.length * 3 + op.to.length * 3 + valueLength * 3 + 8);
  let done = false;
  let p: usize = 0;
  while (p < length) {
    let end = p;
    while (end < length && load<u8>(query + end) != 0x26) end++;
    let nameEnd = p;
    while (nameEnd < end && load<u8>(query + nameEnd) != 0x3d) nameEnd++;
    const hit = nameIs(query + p, nameEnd - p, op.name);
    if (!hit) {
      separate();
      w.bytes(query + p, end - p);
    } else if (op.op == RENAME) {
      separate();
      writeEncoded(changetype<usize>(op.to), op.to.length);
      w.bytes(query + nameEnd, end - nameEnd);
    } else if (op.op == SET && !done) writePair(op.name, value, valueLength);
    done = done || hit;
    p = end + 1;
  }
  if (op.op == SET && !done) writePair(op.name, value, valueLength);
}

function separate(): void {
  if (w.size() > 0) w.byte(0x26);
}

function writePair(name: ByteString, value: usize, length: usize): void {
  separate();
  writeEncoded(changetype<usize>(name), name.length);
  w.byte(0x3d);
  writeEncoded(value, length);
}

/** Percent-encodes all but unreserved characters (RFC 3986 §2.3). */
function writeEncoded(from: usize, length: usize): void {
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(from + i);
    const plain = (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a) || (c >= 0x61 && c <= 0x7a) || c == 0x2d || c == 0x2e || c == 0x5f || c == 0x7e;
    if (plain) w.byte(c);
    else {
      w.byte(0x25);
      w.byte(hexDigit(c >> 4));
      w.byte(hexDigit(c & 15));
    }
  }
}

function hexDigit(value: u8): u8 {
  return value < 10 ? 0x30 + value : 0x37 + value;
}

/** Same name once decoded: `%61` is `a` and `+` a space, so that an encoded spelling does not slip through. */
function nameIs(name: usize, length: usize, wanted: ByteString): bool {
  if (is(name, length, wanted)) return true;
  let plain = true;
  for (let i: usize = 0; i < length; i++) {
    const c = load<u8>(name + i);
    if (c == 0x25 || c == 0x2b) plain = false;
  }
  if (plain || length > 4096) return false;
  const decoded = arenaAlloc(length);
  let size: usize = 0;
  for (let i: usize = 0; i < length; i++) {
    let c = load<u8>(name + i);
    if (c == 0x2b) c = 0x20;
    else if (c == 0x25 && i + 2 < length) {
      const high = hexValue(load<u8>(name + i + 1));
      const low = hexValue(load<u8>(name + i + 2));
      if (high >= 0 && low >= 0) {
        c = <u8>((high << 4) | low);
        i += 2;
      }
    }
    store<u8>(decoded + size++, c);
  }
  return is(decoded, size, wanted);
}
