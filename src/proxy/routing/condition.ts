import type { ValueMatchConfig } from "../../config/snapshot.ts";
import type { HeaderBlock } from "../../core/head.ts";
import { compilePattern, type Pattern, wireText } from "./pattern.ts";

/**
 * Matches on header and query values. They see every value of a repeated field: `exact` and `regex` hold when any value does,
 * `absent` when there is none. (Policy that saw the first or last value only was a hole: CVE-2021-32777, CVE-2026-26308.)
 */
export class ValueCondition {
  readonly name: string;
  readonly kind: ValueMatchConfig["kind"];
  readonly #value: string;
  readonly #pattern: Pattern | undefined;

  /** Throws an `Error` for a bad expression. */
  constructor(config: ValueMatchConfig, lowerCaseName: boolean) {
    this.name = lowerCaseName ? config.name.toLowerCase() : wireText(config.name);
    this.kind = config.kind;
    this.#value = config.kind === "exact" ? wireText(config.value) : "";
    this.#pattern = config.kind === "regex" ? compilePattern(config.value) : undefined;
  }

  #accepts(value: string): boolean {
    if (this.kind === "exact") return value === this.#value;
    if (this.#pattern !== undefined) return this.#pattern.test(value);
    return this.kind === "present";
  }

  holdsForHeaders(headers: HeaderBlock): boolean {
    const { names, values } = headers;
    const { name } = this;
    let found = false;
    for (let i = 0; i < names.length; i++) {
      if (names[i] !== name) continue;
      if (this.#accepts(values[i] as string)) return true;
      found = true;
    }
    return !found && this.kind === "absent";
  }

  holdsForQuery(query: QueryView): boolean {
    const values = query.valuesOf(this.name);
    if (values === undefined) return this.kind === "absent";
    for (const value of values) if (this.#accepts(value)) return true;
    return false;
  }
}

/** The parameters of one query string, parsed when the first condition asks. Reused from request to request. */
export class QueryView {
  #query: string | undefined;
  #parsed: Map<string, string[]> | undefined;

  /** The query that the next questions are about. */
  reset(query: string | undefined): void {
    this.#query = query;
    this.#parsed = undefined;
  }

  /** Every value of a parameter, decoded, in order; undefined when it is absent. */
  valuesOf(name: string): readonly string[] | undefined {
    if (this.#query === undefined || this.#query === "") return undefined;
    this.#parsed ??= parseQuery(this.#query);
    return this.#parsed.get(name);
  }
}

/** `application/x-www-form-urlencoded` (WHATWG URL §5.1) except that the text stays bytes, one per character. */
export function parseQuery(query: string): Map<string, string[]> {
  const parameters = new Map<string, string[]>();
  for (const part of query.split("&")) {
    if (part === "") continue;
    const equals = part.indexOf("=");
    const name = decodeFormText(equals < 0 ? part : part.slice(0, equals));
    const value = equals < 0 ? "" : decodeFormText(part.slice(equals + 1));
    const values = parameters.get(name);
    if (values === undefined) parameters.set(name, [value]);
    else values.push(value);
  }
  return parameters;
}

function decodeFormText(text: string): string {
  if (text.indexOf("%") < 0 && text.indexOf("+") < 0) return text;
  let decoded = "";
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2b) {
      decoded += " ";
      continue;
    }
    const pair = code === 0x25 ? hexPair(text, i + 1) : -1;
    // A stray `%` stays as it is.
    if (pair < 0) {
      decoded += text[i];
      continue;
    }
    decoded += String.fromCharCode(pair);
    i += 2;
  }
  return decoded;
}

function hexPair(text: string, at: number): number {
  const high = hexDigit(text.charCodeAt(at));
  const low = hexDigit(text.charCodeAt(at + 1));
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/** NaN (past the end) is no digit. */
function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
