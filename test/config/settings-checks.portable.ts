/** Settings are held against a stranger's schema: what that takes is bounded, whatever both of them multiply to. */
import assert from "node:assert/strict";
import { METADATA_SECTION } from "../../src/config/module-summary.ts";
import type { Json } from "../../src/config/parse.ts";
import { SecretSettings } from "../../src/config/secret-settings.ts";
import { takesAtMost } from "../../src/config/settings-checks.ts";
import { checkSettings } from "../../src/config/settings-schema.ts";
import { appendCustomSection } from "../../src/config/wasm-sections.ts";
import { utf8Bytes } from "../../src/core/bytes.ts";
import { CONTROL_LIMITS } from "../../src/core/limits.ts";
import { describe, test } from "../kit/suite.ts";

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const problems = (schema: unknown, settings: unknown): number => {
  const wasm = appendCustomSection(EMPTY, METADATA_SECTION, utf8Bytes(JSON.stringify({ settings: schema })));
  return checkSettings(wasm, JSON.stringify(settings)).length;
};
const listOf = (items: unknown): unknown => ({ type: "object", properties: { list: { type: "array", items } } });
const ones = (count: number): Json => ({ list: new Array<number>(count).fill(1) });

describe("settings of a filter", () => {
  test("checks are counted as schema and value lead to them", () => {
    const cases: readonly (readonly [schema: unknown, value: Json, checks: number])[] = [
      [{ type: "string" }, 1, 1],
      [true, [1, 2, 3], 1],
      [{ anyOf: [{}, { allOf: [{}, false] }] }, 1, 5],
      [{ oneOf: [{ enum: [1, 2, 3] }, { enum: ["a", "b"] }] }, 1, 6],
      [{ items: { anyOf: [{}, {}] } }, [1, 2], 7],
      [{ items: { type: "string" } }, { a: [1] }, 2],
      [{ properties: { a: {}, b: { items: {} } }, additionalProperties: { anyOf: [{}] } }, { b: [1, 2], c: 1 }, 8],
      [{ properties: {} }, { constructor: 1 }, 2],
    ];
    for (const [schema, value, checks] of cases) {
      assert.ok(takesAtMost(checks, schema, value), `${JSON.stringify(schema)} takes ${checks}`);
      assert.ok(!takesAtMost(checks - 1, schema, value), `${JSON.stringify(schema)} takes no less than ${checks}`);
    }
  });

  test("at the edge: what takes more is left to the filter, and is not begun", () => {
    // The object, its property, the list, and each item.
    const most = CONTROL_LIMITS.settingsChecks - 3;
    assert.ok(problems(listOf({ type: "string" }), ones(most)) > 0);
    assert.equal(problems(listOf({ type: "string" }), ones(most + 1)), 0);
    // 7 KB of module and 200 KB of settings took some gigabytes.
    const anyOf = Array.from({ length: 200 }, (_, i) => ({ type: "string", minLength: i }));
    assert.equal(problems(listOf({ anyOf }), ones(100_000)), 0);
  });

  test("which of them are secret is worked out once for all values that it holds for alike", () => {
    const anyOf = Array.from({ length: 250 }, () => ({}));
    const values = new Array<number>(200_000).fill(1);
    // Item by item it took 76 s.
    const all = { properties: { list: { items: { anyOf } } } };
    assert.deepEqual(SecretSettings.ofSchema(all).pointersIn({ list: values }), []);
    const fields = Object.fromEntries(values.slice(0, 20_000).map((each, i) => [`f${i}`, each]));
    const some = { additionalProperties: { anyOf }, properties: { f7: { writeOnly: true } } };
    assert.deepEqual(SecretSettings.ofSchema(some).pointersIn(fields), ["/f7"]);
    const placed = { prefixItems: [{}, { writeOnly: true }], items: { anyOf } };
    assert.deepEqual(SecretSettings.ofSchema(placed).pointersIn(values), ["/1"]);
  });

  test("what takes too long to follow is secret", () => {
    const tree = (depth: number): Json => (depth === 0 ? 1 : { a: tree(depth - 1), b: tree(depth - 1) });
    const schema = { anyOf: Array.from({ length: 250 }, () => ({})), properties: { a: { $ref: "#" }, b: { $ref: "#" } } };
    assert.deepEqual(SecretSettings.ofSchema(schema).pointersIn(tree(8)), []);
    const found = SecretSettings.ofSchema(schema).pointersIn(tree(12));
    assert.equal(found[0]?.startsWith("/a/"), true);
    assert.equal(found.at(-1)?.startsWith("/b"), true);
  });
});
