import { expect, test } from "bun:test";
import { utf8Bytes } from "../core/bytes.ts";
import { METADATA_SECTION } from "./module-summary.ts";
import { checkSettings, refuseSchema } from "./settings-schema.ts";
import { appendCustomSection } from "./wasm-sections.ts";

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const moduleOf = (settings: unknown): Uint8Array =>
  appendCustomSection(EMPTY, METADATA_SECTION, utf8Bytes(JSON.stringify({ name: "x", settings })));
const check = (schema: unknown, settings: unknown): string[] =>
  checkSettings(moduleOf(schema), JSON.stringify(settings)).map(({ code, path }) => `${code} ${path.join(".")}`);

test("every problem with its place", () => {
  const schema = {
    type: "object",
    additionalProperties: false,
    required: ["table"],
    properties: {
      mode: { enum: ["a", "b"] },
      count: { type: "integer", minimum: 1 },
      list: { type: "array", items: { type: "string", minLength: 1 } },
      table: { type: "object", additionalProperties: { type: "string" } },
    },
  };
  expect(check(schema, { table: { a: "b" }, mode: "a", count: 3, list: ["x"] })).toEqual([]);
  expect(check(schema, { mode: "c", count: 0, list: ["x", ""], more: 1 }).sort()).toEqual([
    "missing_field table",
    "out_of_range count",
    "out_of_range list.1",
    "unknown_key more",
    "unknown_value mode",
  ]);
});

test("a module without metadata, or with a schema that cannot be used, is left to itself", () => {
  expect(checkSettings(EMPTY, "{}")).toEqual([]);
  expect(checkSettings(appendCustomSection(EMPTY, METADATA_SECTION, utf8Bytes("no json")), "{}")).toEqual([]);
  for (const schema of [undefined, 5, [], { type: "nothing" }, { properties: 5 }]) expect(check(schema, { a: 1 })).toEqual([]);
  let deep: unknown = { type: "string" };
  for (let i = 0; i < 100; i++) deep = { items: deep };
  expect(check(deep, {})).toEqual([]);
});

test("patterns and references of strangers are not run", () => {
  const evil = { properties: { a: { type: "string", pattern: "^(a+)+$" }, b: { $ref: "https://example.com/x" } } };
  expect(check(evil, { a: `${"a".repeat(40)}!`, b: 1 })).toEqual([]);
});

test("an author hears what is wrong with a schema", () => {
  expect(refuseSchema({ type: "object", properties: { a: { type: "string" } } })).toBeUndefined();
  expect(refuseSchema({})).toBeUndefined();
  for (const wrong of [5, { properties: { a: 5 } }, { type: "nothing" }]) expect(refuseSchema(wrong)).toBeString();
});
