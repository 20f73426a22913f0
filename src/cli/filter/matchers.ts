import { isDeepStrictEqual } from "node:util";
import { type Bytes, utf8Text } from "../../core/bytes.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { wire } from "./messages.ts";
import type { BodyMatcher, FieldMatcher, TextMatcher } from "./table-schema.ts";

/** Something that is not as expected. */
export interface Mismatch {
  /** From the value that was expected; empty: that one itself. */
  readonly path: readonly (string | number)[];
  readonly expected: string;
  readonly actual: string;
}

/** Longest text of an actual value that is shown. */
const SHOWN_CHARS = 300;

export function show(text: string): string {
  const cut = text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}… (${text.length} characters)` : text;
  return JSON.stringify(cut);
}

interface Conditions {
  readonly contains?: string | undefined;
  readonly startsWith?: string | undefined;
  readonly endsWith?: string | undefined;
  readonly matches?: string | undefined;
  readonly not?: string | undefined;
}

/** What of the conditions does not hold. */
function* failedConditions(wanted: Conditions, actual: string): Generator<[string, string]> {
  const { contains, startsWith, endsWith, matches, not } = wanted;
  if (contains !== undefined && !actual.includes(contains)) yield ["contains", `something with ${show(contains)} in it`];
  if (startsWith !== undefined && !actual.startsWith(startsWith))
    yield ["startsWith", `something that begins with ${show(startsWith)}`];
  if (endsWith !== undefined && !actual.endsWith(endsWith)) yield ["endsWith", `something that ends with ${show(endsWith)}`];
  if (matches !== undefined && !new RegExp(matches).test(actual)) yield ["matches", `something that /${matches}/ fits`];
  if (not !== undefined && actual === not) yield ["not", `anything but ${show(not)}`];
}

/** `actual` undefined: there is none. */
export function matchText(wanted: TextMatcher, actual: string | undefined): Mismatch[] {
  const shown = actual === undefined ? "nothing" : show(actual);
  if (typeof wanted !== "object") {
    const text = String(wanted);
    return actual === text ? [] : [{ path: [], expected: show(text), actual: shown }];
  }
  if (actual === undefined) return [{ path: [], expected: "a text", actual: shown }];
  return [...failedConditions(wanted, actual)].map(([key, expected]) => ({ path: [key], expected, actual: shown }));
}

const readable = (value: string): string => {
  const bytes = Buffer.from(value, "latin1");
  const text = bytes.toString("utf8");
  return wire(text) === value ? text : value;
};

export function matchFields(wanted: Readonly<Record<string, FieldMatcher>>, block: HeaderBlock | undefined): Mismatch[] {
  return Object.entries(wanted).flatMap(([name, matcher]) => {
    const values = (block?.getAll(name.toLowerCase()) ?? []).map(readable);
    return matchField(matcher, values).map((mismatch) => ({ ...mismatch, path: [name, ...mismatch.path] }));
  });
}

function matchField(matcher: FieldMatcher, values: readonly string[]): Mismatch[] {
  const actual = values.length === 0 ? "no such field" : values.map(show).join(", ");
  if (matcher === null) return values.length === 0 ? [] : [{ path: [], expected: "no such field", actual }];
  if (Array.isArray(matcher)) {
    const texts = matcher.map(String);
    return isDeepStrictEqual(texts, values)
      ? []
      : [{ path: [], expected: texts.map(show).join(", ") || "no such field", actual }];
  }
  if (typeof matcher !== "object") {
    const text = String(matcher);
    return values.length === 1 && values[0] === text ? [] : [{ path: [], expected: show(text), actual }];
  }
  const { present, ...conditions } = matcher;
  if (present === false) return values.length === 0 ? [] : [{ path: ["present"], expected: "no such field", actual }];
  if (values.length === 0) return [{ path: [], expected: "a field of this name", actual }];
  return values.flatMap((value) =>
    [...failedConditions(conditions, value)].map(([key, expected]) => ({ path: [key], expected, actual })),
  );
}

export function matchBody(wanted: BodyMatcher, actual: Bytes): Mismatch[] {
  const text = utf8Text(actual);
  const shown = actual.byteLength === 0 ? "no body" : show(text);
  if (typeof wanted === "string") return text === wanted ? [] : [{ path: [], expected: show(wanted), actual: shown }];
  const { json, base64, bytes, ...conditions } = wanted;
  const found: Mismatch[] = [...failedConditions(conditions, text)].map(([key, expected]) => ({
    ...{ path: [key], expected, actual: shown },
  }));
  if (Object.hasOwn(wanted, "json") && !sameJson(json, text))
    found.push({ path: ["json"], expected: JSON.stringify(json), actual: shown });
  if (base64 !== undefined && Buffer.compare(Buffer.from(base64, "base64"), Buffer.from(actual)) !== 0)
    found.push({ path: ["base64"], expected: base64, actual: Buffer.from(actual).toString("base64").slice(0, SHOWN_CHARS) });
  if (bytes !== undefined && bytes !== actual.byteLength)
    found.push({ path: ["bytes"], expected: `${bytes} bytes`, actual: `${actual.byteLength} bytes` });
  return found;
}

function sameJson(wanted: unknown, text: string): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(text), wanted);
  } catch {
    return false;
  }
}

/** Notes are shown as text, so that a map of them can be matched like fields. */
export function matchNotes(
  wanted: Readonly<Record<string, FieldMatcher>>,
  notes: ReadonlyMap<string, string> | undefined,
): Mismatch[] {
  return Object.entries(wanted).flatMap(([name, matcher]) => {
    const value = notes?.get(name);
    const found = matchField(matcher, value === undefined ? [] : [readable(value)]);
    return found.map((mismatch) => ({ ...mismatch, path: [name, ...mismatch.path] }));
  });
}
