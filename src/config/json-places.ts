import type { IssuePath } from "./parse.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** What is in an object (where its keys stand) or in a list (where its items do). */
type Inside = ReadonlyMap<string, number> | readonly number[];

/**
 * Where values stand in a text that is JSON. An object or a list is looked through once, and only when something in it is asked for: of a
 * text with a thousand mistakes that costs less than parsing it.
 */
export class JsonPlaces {
  /** By offset. */
  readonly #inside = new Map<number, Inside>();

  /** `text`: `JSON.parse` takes it. */
  constructor(readonly text: string) {}

  /** Offset of a value, or of its key, also when the value is null; of the nearest parent when there is none. */
  offsetOf(path: IssuePath, key: boolean): number {
    let at = skipSpace(this.text, 0);
    let offset = at;
    for (const [i, step] of path.entries()) {
      const inside = this.#look(at);
      if (inside instanceof Map) {
        const keyAt: number | undefined = inside.get(String(step));
        if (keyAt === undefined) return offset;
        at = valueBehind(this.text, keyAt);
        offset = (key && i === path.length - 1) || this.text.startsWith("null", at) ? keyAt : at;
      } else {
        const itemAt = typeof step === "number" ? (inside as readonly number[])[step] : undefined;
        if (itemAt === undefined) return offset;
        at = itemAt;
        offset = at;
      }
    }
    return offset;
  }

  /** Of a scalar: nothing. */
  #look(at: number): Inside {
    let inside = this.#inside.get(at);
    if (inside === undefined) {
      inside = this.text[at] === "{" ? keysOf(this.text, at) : this.text[at] === "[" ? itemsOf(this.text, at) : [];
      this.#inside.set(at, inside);
    }
    return inside;
  }
}

function keysOf(text: string, start: number): ReadonlyMap<string, number> {
  const keys = new Map<string, number>();
  let at = skipSpace(text, start + 1);
  while (text.charCodeAt(at) === QUOTE) {
    const end = skipText(text, at);
    const raw = text.slice(at + 1, end - 1);
    keys.set(raw.includes("\\") ? (JSON.parse(text.slice(at, end)) as string) : raw, at);
    at = skipSpace(text, skipValue(text, valueBehind(text, at)));
    if (text[at] !== ",") break;
    at = skipSpace(text, at + 1);
  }
  return keys;
}

function itemsOf(text: string, start: number): readonly number[] {
  const items: number[] = [];
  let at = skipSpace(text, start + 1);
  while (at < text.length && text[at] !== "]") {
    items.push(at);
    at = skipSpace(text, skipValue(text, at));
    if (text[at] !== ",") break;
    at = skipSpace(text, at + 1);
  }
  return items;
}

/** `keyAt`: of a key, in front of its colon. */
function valueBehind(text: string, keyAt: number): number {
  const colon = skipSpace(text, skipText(text, keyAt));
  return skipSpace(text, colon + 1);
}

function skipSpace(text: string, start: number): number {
  let at = start;
  while (at < text.length && text.charCodeAt(at) <= 0x20) at++;
  return at;
}

/** Behind the quote that ends a text. */
function skipText(text: string, start: number): number {
  let at = start;
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) return text.length;
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at + 1;
  }
}

function skipValue(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const char = text[at];
    if (char === '"') {
      at = skipText(text, at);
      if (depth === 0) return at;
      continue;
    }
    if (char === "{" || char === "[") depth++;
    else if (char === "}" || char === "]") {
      if (depth === 0) return at;
      if (--depth === 0) return at + 1;
    } else if (depth === 0 && (char === "," || text.charCodeAt(at) <= 0x20)) return at;
    at++;
  }
  return at;
}
