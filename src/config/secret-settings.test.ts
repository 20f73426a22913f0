import { expect, test } from "bun:test";
import { utf8Bytes } from "../core/bytes.ts";
import { secretsOfModule } from "./module-secrets.ts";
import { METADATA_BYTES, METADATA_SECTION } from "./module-summary.ts";
import type { Json } from "./parse.ts";
import { SecretSettings } from "./secret-settings.ts";
import { redactSettings, SecretPlaces } from "./secret-values.ts";
import { redactWritten } from "./secrets.ts";
import { checkSettings } from "./settings-schema.ts";
import { appendCustomSection } from "./wasm-sections.ts";

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const S = { type: "string", writeOnly: true };
const secretsOf = (schema: unknown, settings: Json): string[] => SecretSettings.ofSchema(schema).pointersIn(settings);

const CASES: readonly (readonly [string, unknown, Json, readonly string[]])[] = [
  ["a field", { properties: { a: S, b: { format: "password" }, c: {} } }, { a: "1", b: "2", c: "3" }, ["/a", "/b"]],
  ["whatever it is", { properties: { a: S, b: S } }, { a: 5, b: { c: ["x"] } }, ["/a", "/b"]],
  ["only true", { properties: { a: { writeOnly: "true" }, b: { writeOnly: false } } }, { a: "1", b: "2" }, []],
  ["all of it", S, { a: 1 }, [""]],
  [
    "items",
    { properties: { a: { items: { properties: { b: S } } } } },
    { a: [{ b: "1", c: "2" }, { b: "3" }] },
    ["/a/0/b", "/a/1/b"],
  ],
  ["items by place", { prefixItems: [{}, S], items: {} }, ["1", "2", "3"], ["/1"]],
  ["items of old drafts", { items: [{}, S], additionalItems: S }, ["1", "2", "3"], ["/1", "/2"]],
  ["any of", { anyOf: [{ properties: { a: S } }, { type: "object" }] }, { a: "1" }, ["/a"]],
  ["all of, one of", { allOf: [{ oneOf: [{ properties: { a: S } }] }] }, { a: "1" }, ["/a"]],
  [
    "if, then, else",
    JSON.parse(
      `{"if": {}, "then": {"properties": {"a": ${JSON.stringify(S)}}}, "else": {"properties": {"b": ${JSON.stringify(S)}}}}`,
    ),
    { a: "1", b: "2" },
    ["/a", "/b"],
  ],
  ["where another field is", { dependentSchemas: { b: { properties: { a: S } } } }, { a: "1", b: "2" }, ["/a"]],
  ["the same of old drafts", { dependencies: { b: { properties: { a: S } }, c: ["b"] } }, { a: "1", b: "2" }, ["/a"]],
  ["a recursive reference", { properties: { a: { $recursiveRef: "#" } } }, { a: "1", b: "2" }, ["/a"]],
  ["below another base", { properties: { a: { $id: "x", properties: { b: {} } } } }, { a: { b: "1" } }, ["/a"]],
  ["other fields", { properties: { a: {} }, additionalProperties: S }, { a: "1", b: "2" }, ["/b"]],
  ["fields by a pattern, which is not run", { patternProperties: { "^(x+)+$": S } }, { a: "1" }, ["/a"]],
  ["a reference", { $defs: { s: S }, properties: { a: { $ref: "#/$defs/s" } } }, { a: "1", b: "2" }, ["/a"]],
  ["a reference to itself", { properties: { a: S, b: { $ref: "#" } } }, { b: { b: { a: "1" } } }, ["/b/b/a"]],
  [
    "escapes in references and pointers",
    { $defs: { "a/b~": S }, properties: { "x/~": { $ref: "#/$defs/a~1b~0" } } },
    { "x/~": "1" },
    ["/x~1~0"],
  ],
  [
    "references that lead elsewhere",
    { properties: { a: { $ref: "https://x.test/" }, b: { $ref: "#/$defs/none" }, c: {} } },
    { a: "1", b: "2", c: "3" },
    ["/a", "/b"],
  ],
  ["names of every object", { properties: { a: {} } }, { constructor: "1", toString: "2" }, []],
  ["no schema", 5, { a: "1" }, []],
];

test("what a schema says is secret", () => {
  for (const [name, schema, settings, expected] of CASES)
    expect([name, secretsOf(schema, settings)]).toEqual([name, [...expected]]);
});

test("more schemas for one value than are looked through: it is secret", () => {
  const many = (count: number) => ({ properties: { a: { anyOf: Array.from({ length: count }, () => ({})) } } });
  expect(secretsOf(many(255), { a: "1" })).toEqual([]);
  expect(secretsOf(many(256), { a: "1" })).toEqual(["/a"]);
});

test("modules: none says nothing; metadata that cannot be read may say anything", () => {
  const of = (section: Uint8Array): boolean => secretsOfModule(appendCustomSection(EMPTY, METADATA_SECTION, section)).isSecret;
  expect(secretsOfModule(EMPTY).isSecret).toBe(false);
  expect(of(utf8Bytes("{}"))).toBe(false);
  expect(of(utf8Bytes("null"))).toBe(false);
  expect(of(utf8Bytes("no json"))).toBe(true);
  expect(of(utf8Bytes("{}".padEnd(METADATA_BYTES)))).toBe(false);
  expect(of(utf8Bytes("{}".padEnd(METADATA_BYTES + 1)))).toBe(true);
});

test("shown: the resource, the dump, and what an issue says", () => {
  const schema = {
    type: "object",
    properties: {
      pin: { type: "string", enum: ["4711"], writeOnly: true },
      deep: { type: "array", items: { type: "object", properties: { pin: S } } },
    },
  };
  const settings = { pin: "1234", deep: [{ pin: "5678", more: 1 }], apiKey: "abcd" };
  const shown = { pin: "[redacted]", deep: [{ pin: "[redacted]", more: 1 }], apiKey: "[redacted]" };
  const secret = SecretSettings.ofSchema(schema);
  expect(redactWritten({ spec: { settings } }, secret)).toEqual({ spec: { settings: shown } });
  const changed = redactWritten({ spec: { settings } }, secret, { spec: { settings: { ...settings, deep: [{ pin: "0" }] } } });
  expect(changed).toEqual({ spec: { settings: { ...shown, deep: [{ pin: "[redacted, changed]", more: 1 }] } } });
  expect(redactSettings(settings, new SecretPlaces(new Set(secret.pointersIn(settings))))).toEqual(shown);
  const wasm = appendCustomSection(EMPTY, METADATA_SECTION, utf8Bytes(JSON.stringify({ settings: schema })));
  const said = checkSettings(wasm, JSON.stringify({ pin: "1234", deep: [{ pin: 5678 }] }));
  expect(said.map(({ code, path }) => [code, path.join("/")])).toEqual([
    ["unknown_value", "pin"],
    ["wrong_type", "deep/0/pin"],
  ]);
  expect(JSON.stringify(said)).not.toMatch(/1234|5678/);
});
