import { expect, test } from "bun:test";
import { isNestedDeeper, jsonText, parseShallowJson } from "./json-text.ts";

const HOSTILE = "\u0007\u001b[2J\u007f\u0085\u009b1m\u2028\u202e\u2066\ufeff é 😀 \ud800";

test("JSON of any text is printable, and reads back as the same", () => {
  for (let code = 0; code < 0x10000; code++) {
    const char = String.fromCharCode(code);
    const text = jsonText(char);
    expect(JSON.parse(text)).toBe(char);
    expect(text).not.toMatch(/\p{Cc}|\p{Bidi_Control}|[\u2028\u2029\ufeff]/u);
  }
  const value = { [HOSTILE]: [HOSTILE, 1, null, { a: HOSTILE }] };
  expect(JSON.parse(jsonText(value))).toEqual(value);
  expect(jsonText("\u009b1m\u202ex é")).toBe('"\\u009b1m\\u202ex é"');
});

test("everything else is as JSON.stringify has it", () => {
  const value = { a: [1, "é\n"], b: undefined, c: new Date(0) };
  expect(jsonText(value)).toBe(JSON.stringify(value));
  expect(jsonText(value, 2)).toBe(JSON.stringify(value, null, 2));
});

test("what strangers nest is counted before it is read, and texts inside do not count", () => {
  for (const [text, depth] of [
    ["1", 0],
    ['"[[[["', 0],
    ['{"a\\"[[":[{}]}', 3],
    ["[[],[],[[]]]", 3],
    ['["\\\\",[]]', 2],
  ] as const) {
    expect([isNestedDeeper(text, depth), depth > 0 && isNestedDeeper(text, depth - 1)]).toEqual([false, depth > 0]);
    expect(parseShallowJson(text, depth)).toEqual(JSON.parse(text));
  }
  expect(() => parseShallowJson("[".repeat(5_000_000), 64)).toThrow("nested deeper than 64");
});
