import { ByteString, is, same, utf8 } from "./memory";
import { Json, member, onlyKeys, problem, STRING } from "./settings";

/** Path patterns over the path as the host normalised it. No regular expressions. */

const EXACT: i32 = 0;
const PREFIX: i32 = 1;
const TEMPLATE: i32 = 2;

const ONE: i32 = 1;
const REST: i32 = 2;

export class PathPattern {
  kind: i32 = EXACT;
  value: ByteString = new StaticArray<u8>(0);
  /** Of a template: literal segments, and what stands for anything (0: literal, `ONE`, `REST`). */
  segments: ByteString[] = [];
  wild: i32[] = [];

  matches(path: usize, length: usize): bool {
    if (this.kind == EXACT) return is(path, length, this.value);
    if (this.kind == PREFIX) return hasPathPrefix(path, length, this.value);
    return this.matchTemplate(path, length);
  }

  private matchTemplate(path: usize, length: usize): bool {
    if (length == 0 || load<u8>(path) != 0x2f) return false;
    let from: usize = 1;
    for (let i = 0; i < this.segments.length; i++) {
      const wild = unchecked(this.wild[i]);
      if (wild == REST) return from < length;
      // Behind the last segment of the path there is none left.
      if (from > length) return false;
      let to = from;
      while (to < length && load<u8>(path + to) != 0x2f) to++;
      if (wild == ONE ? to == from : !is(path + from, to - from, unchecked(this.segments[i]))) return false;
      from = to + 1;
    }
    return from == length + 1;
  }
}

/** By segments: `/a` covers `/a` and `/a/b`, not `/ab`; `/a/` covers only what is below. */
export function hasPathPrefix(path: usize, length: usize, prefix: ByteString): bool {
  const size: usize = prefix.length;
  if (length < size || !same(path, size, changetype<usize>(prefix), size)) return false;
  return length == size || load<u8>(changetype<usize>(prefix) + size - 1) == 0x2f || load<u8>(path + size) == 0x2f;
}

/** `{"exact": "/a"}`, `{"prefix": "/a"}`, `{"template": "/users/{id}/{rest=**}"}`; a bare string is exact, or a prefix when it ends in `/*`. */
export function parsePattern(json: Json): PathPattern {
  const pattern = new PathPattern();
  let text = "";
  if (json.kind == STRING) {
    text = json.text;
    if (text.endsWith("/*")) {
      pattern.kind = PREFIX;
      text = text.length == 2 ? "/" : text.substring(0, text.length - 2);
    }
  } else if (onlyKeys(json, "exact prefix template")) {
    if (json.keys.length != 1 || json.items[0].kind != STRING) problem(json.path, "needs exactly one of exact, prefix and template");
    else {
      text = json.items[0].text;
      pattern.kind = member(json, "exact") !== null ? EXACT : member(json, "prefix") !== null ? PREFIX : TEMPLATE;
    }
  }
  if (!text.startsWith("/")) problem(json.path, "a path starts with /");
  if (text.includes("?") || text.includes("#")) problem(json.path, "a path has no ? and no #");
  if (text.includes("*") && pattern.kind != TEMPLATE) problem(json.path, "* stands only at the end, behind a slash");
  pattern.value = utf8(text);
  if (pattern.kind == TEMPLATE) parseTemplate(json, text, pattern);
  return pattern;
}

function parseTemplate(json: Json, text: string, pattern: PathPattern): void {
  const parts = text.substring(1).split("/");
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    let wild = 0;
    if (part.startsWith("{") && part.endsWith("}") && part.length > 2) wild = part.endsWith("=**}") ? REST : ONE;
    else if (part.includes("{") || part.includes("}")) problem(json.path, "a variable fills a whole segment");
    if (wild == REST && i + 1 < parts.length) problem(json.path, "{name=**} stands only at the end");
    pattern.segments.push(utf8(part));
    pattern.wild.push(wild);
  }
}
