import { hash } from "node:crypto";

/** Items made by `canonicalItem`, with their JSON once somebody asked for it. */
const items = new WeakMap<object, string>();

/** JSON with sorted keys and without `undefined`: equal data, equal text. Numbers must be finite. */
export function canonicalJson(value: unknown): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const known = items.get(value);
  if (known !== undefined && known !== "") return known;
  const text = Array.isArray(value) ? `[${value.map(canonicalJson).join(",")}]` : objectJson(value);
  if (known === "") items.set(value, text);
  return text;
}

function objectJson(value: object): string {
  const parts: string[] = [];
  for (const key of Object.keys(value).sort()) {
    const each = (value as Record<string, unknown>)[key];
    if (each !== undefined) parts.push(`${JSON.stringify(key)}:${canonicalJson(each)}`);
  }
  return `{${parts.join(",")}}`;
}

/** A frozen copy without `undefined`, with sorted keys: what `JSON.parse(canonicalJson(value))` gives. */
export function canonicalCopy<T>(value: T): T {
  if (typeof value !== "object" || value === null || items.has(value)) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(canonicalCopy)) as T;
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(value).sort()) {
    const each = (value as Record<string, unknown>)[key];
    if (each !== undefined) copy[key] = canonicalCopy(each);
  }
  return Object.freeze(copy) as T;
}

/** A canonical copy that is neither copied nor serialised again: for what stays the same from one compile to the next. */
export function canonicalItem<T extends object>(value: T): T {
  const item = canonicalCopy(value);
  if (!items.has(item)) items.set(item, "");
  return item;
}

/** `sha256:` + hex. */
export function sha256Digest(content: string | Uint8Array): string {
  return `sha256:${hash("sha256", content, "hex")}`;
}

/** By code units: the same order on every machine. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Sorted, each once. */
export const sortedSet = (texts: Iterable<string>): string[] => [...new Set(texts)].sort(compareText);
