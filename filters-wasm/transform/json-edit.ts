import { decodeString, isJson, skipBlank, skipString, skipValue } from "../sdk/json-scan";
import { arenaAlloc, ByteString, same } from "../sdk/memory";
import { JsonOp, REMOVE, RENAME, SET } from "./settings";

/**
 * Edits of JSON text by pointer, without a tree: what is not touched keeps its bytes (numbers keep their digits, strings
 * their escapes, members their order).
 */

// The text under work, and the other buffer that the next edit writes to.
let text: usize = 0;
let length: usize = 0;
let other: usize = 0;

// The entry found by `enter`.
let found: bool = false;
let keyStart: usize = 0;
let keyEnd: usize = 0;
let valueStart: usize = 0;
let valueEnd: usize = 0;
/** The comma before the entry, or 0. */
let commaBefore: usize = 0;
/** Start of the entry behind it, or 0. */
let nextStart: usize = 0;
let entryStart: usize = 0;
/** Where a new last entry goes. */
let appendAt: usize = 0;
let entries: i32 = 0;
let isArray: bool = false;
/** A name stands twice where the pointer goes: which one counts depends on the reader. */
let ambiguous: bool = false;

@inline
export function editedText(): usize {
  return text;
}
@inline
export function editedLength(): usize {
  return length;
}

/** Applies all edits; false: not JSON, or a name on the way stands twice. Edits whose parent is missing do nothing. */
export function edit(from: usize, size: usize, ops: JsonOp[]): bool {
  if (!isJson(from, from + size)) return false;
  let capacity = size;
  for (let i = 0; i < ops.length; i++) capacity += unchecked(ops[i]).text.length + quotedRoom(unchecked(ops[i])) + 4;
  text = arenaAlloc(capacity);
  other = arenaAlloc(capacity);
  memory.copy(text, from, size);
  length = size;
  ambiguous = false;
  for (let i = 0; i < ops.length; i++) {
    apply(unchecked(ops[i]));
    if (ambiguous) return false;
  }
  return true;
}

/** Room for the last token as a member name: each byte becomes at most six. */
function quotedRoom(op: JsonOp): i32 {
  return op.tokens.length == 0 ? 0 : 6 * op.tokens[op.tokens.length - 1].length + 2;
}

function apply(op: JsonOp): void {
  const depth = op.tokens.length;
  if (depth == 0) {
    const start = skipBlank(text, text + length);
    splice(start, skipValue(start, text + length), op.text);
    return;
  }
  if (!locate(op, depth)) return;
  if (op.op == SET) setEntry(op);
  else if (!found) return;
  else if (op.op == REMOVE) removeEntry();
  else renameEntry(op, depth);
}

/** Walks to the parent and looks for the last token there; false when there is no such parent. */
function locate(op: JsonOp, depth: i32): bool {
  const end = text + length;
  let at = skipBlank(text, end);
  for (let i = 0; i < depth; i++) {
    if (!enter(at, end, unchecked(op.tokens[i])) || ambiguous) return false;
    if (i + 1 < depth) {
      if (!found) return false;
      at = valueStart;
    }
  }
  return true;
}

/** Looks for a member or element of the container at `at`; false when it is no container. */
function enter(at: usize, end: usize, token: ByteString): bool {
  const first = load<u8>(at);
  if (first != 0x7b && first != 0x5b) return false;
  isArray = first == 0x5b;
  found = false;
  entries = 0;
  nextStart = 0;
  appendAt = at + 1;
  const wanted = isArray ? indexOfToken(token) : -1;
  let comma: usize = 0;
  let p = skipBlank(at + 1, end);
  if (load<u8>(p) == (isArray ? <u8>0x5d : <u8>0x7d)) return true;
  while (true) {
    const start = p;
    let nameEnd: usize = 0;
    if (!isArray) {
      nameEnd = skipString(p, end);
      p = skipBlank(skipBlank(nameEnd, end) + 1, end);
    }
    const after = skipValue(p, end);
    const hit = isArray ? entries == wanted : nameIs(start, nameEnd, token);
    const behind = skipBlank(after, end);
    const more = load<u8>(behind) == 0x2c;
    if (hit) {
      if (found) ambiguous = true;
      found = true;
      entryStart = start;
      keyStart = start;
      keyEnd = nameEnd;
      valueStart = p;
      valueEnd = after;
      commaBefore = comma;
      nextStart = more ? skipBlank(behind + 1, end) : 0;
    }
    entries++;
    appendAt = after;
    if (!more) return true;
    comma = behind;
    p = skipBlank(behind + 1, end);
  }
}

/** Index in an array: no sign, no leading zero. `-` is behind the last (RFC 6901 §4). */
function indexOfToken(token: ByteString): i32 {
  if (token.length == 0 || token.length > 9 || (token[0] == 0x30 && token.length > 1)) return -1;
  let index = 0;
  for (let i = 0; i < token.length; i++) {
    const digit = token[i] - 0x30;
    if (digit > 9) return -1;
    index = index * 10 + digit;
  }
  return index;
}

let scratch: usize = 0;
let scratchSize: usize = 0;

function nameIs(start: usize, end: usize, token: ByteString): bool {
  const size = end - start - 2;
  if (size == <usize>token.length && same(start + 1, size, changetype<usize>(token), size)) return true;
  // An escape makes a name longer, never shorter.
  if (size <= <usize>token.length) return false;
  let escaped = false;
  for (let i: usize = 1; i <= size; i++) if (load<u8>(start + i) == 0x5c) escaped = true;
  if (!escaped) return false;
  if (scratchSize < end - start) {
    if (scratch != 0) heap.free(scratch);
    scratchSize = end - start;
    scratch = heap.alloc(scratchSize);
  }
  return same(scratch, decodeString(start, end, scratch), changetype<usize>(token), token.length);
}

function setEntry(op: JsonOp): void {
  if (found) {
    splice(valueStart, valueEnd, op.text);
    return;
  }
  const token = op.tokens[op.tokens.length - 1];
  if (isArray && !(indexOfToken(token) == entries || (token.length == 1 && token[0] == 0x2d))) return;
  const head = appendAt - text;
  memory.copy(other, text, head);
  let to = other + head;
  if (entries > 0) store<u8>(to++, 0x2c);
  if (!isArray) {
    to = writeQuoted(token, to);
    store<u8>(to++, 0x3a);
  }
  memory.copy(to, changetype<usize>(op.text), op.text.length);
  to += op.text.length;
  memory.copy(to, appendAt, length - head);
  swap(to - other + length - head);
}

function writeQuoted(bytes: ByteString, to: usize): usize {
  store<u8>(to++, 0x22);
  for (let i = 0; i < bytes.length; i++) {
    const byte = unchecked(bytes[i]);
    if (byte < 0x20) {
      memory.copy(to, changetype<usize>(ESCAPE), 4);
      store<u8>(to + 4, <u8>(0x30 + (byte >> 4)));
      const low = byte & 15;
      store<u8>(to + 5, <u8>(low < 10 ? 0x30 + low : 0x57 + low));
      to += 6;
      continue;
    }
    if (byte == 0x22 || byte == 0x5c) store<u8>(to++, 0x5c);
    store<u8>(to++, byte);
  }
  store<u8>(to++, 0x22);
  return to;
}

const ESCAPE: StaticArray<u8> = [0x5c, 0x75, 0x30, 0x30];
const NOTHING = new StaticArray<u8>(0);

function removeEntry(): void {
  if (commaBefore != 0) splice(commaBefore, valueEnd, NOTHING);
  else splice(entryStart, nextStart != 0 ? nextStart : valueEnd, NOTHING);
}

/** A member that already has the new name gives way. */
function renameEntry(op: JsonOp, depth: i32): void {
  if (isArray) return;
  const last = op.tokens[depth - 1];
  if (same(changetype<usize>(last), last.length, changetype<usize>(op.to), op.to.length)) return;
  op.tokens[depth - 1] = op.to;
  if (locate(op, depth) && found) removeEntry();
  op.tokens[depth - 1] = last;
  if (!ambiguous && locate(op, depth) && found) splice(keyStart, keyEnd, op.text);
}

/** Replaces `[from, to)` of the text. */
function splice(from: usize, to: usize, by: ByteString): void {
  const head = from - text;
  const tail = text + length - to;
  memory.copy(other, text, head);
  memory.copy(other + head, changetype<usize>(by), by.length);
  memory.copy(other + head + by.length, to, tail);
  swap(head + by.length + tail);
}

function swap(size: usize): void {
  const old = text;
  text = other;
  other = old;
  length = size;
}
