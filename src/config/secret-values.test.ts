import { expect, test } from "bun:test";
import { CONFIG_LIMITS } from "../core/limits.ts";
import type { Json } from "./parse.ts";
import { SecretSettings } from "./secret-settings.ts";
import { redactSettings, SecretPlaces, secretTexts } from "./secret-values.ts";

const X = "[redacted]";

/** What it is, settings, what is shown. */
const CASES: readonly (readonly [string, Json, Json])[] = [
  ["a text", { apiKey: "a", mode: "b" }, { apiKey: X, mode: "b" }],
  ["a list", { key: ["a"], keys: ["b", ["c"]] }, { key: [X], keys: [X, [X]] }],
  [
    "what a rate limit counts by",
    { key: ["clientIp", "header:x-user", "claim:sub"] },
    { key: ["clientIp", "header:x-user", "claim:sub"] },
  ],
  ["the same under another name", { keys: ["path"], apiKey: "route" }, { keys: [X], apiKey: X }],
  ["one that is none of it", { key: ["clientIp", "s3cret"] }, { key: ["clientIp", X] }],
  ["texts by name", { keys: { k1: "a", id: "b" } }, { keys: { k1: X, id: X } }],
  ["records", { keys: [{ id: "ci", sha256: "a", salt: "b" }] }, { keys: [{ id: "ci", sha256: X, salt: X }] }],
  [
    "a mapping that holds them",
    { apiKeys: { header: "x-key", forward: true, keys: [{ id: "a", sha256: "b" }] } },
    { apiKeys: { header: "x-key", forward: true, keys: [{ id: "a", sha256: X }] } },
  ],
  ["what is below a name", { credentials: { user: { a: ["b"] } } }, { credentials: { user: { a: [X] } } }],
  [
    "numbers",
    { pin: 1, secret: 2, apiKey: 3, tokens: 4, keyBits: 5, hashes: [6], credentials: true },
    { pin: 1, secret: X, apiKey: X, tokens: 4, keyBits: 5, hashes: [6], credentials: true },
  ],
  [
    "what a name beside it says",
    [
      { op: "set", name: "Authorization", value: "a" },
      { name: "x-caller", value: "b" },
      { name: "x-token", exact: "c" },
    ],
    [
      { op: "set", name: "Authorization", value: X },
      { name: "x-caller", value: "b" },
      { name: "x-token", exact: X },
    ],
  ],
  ["a text alone", "abc", "abc"],
];

test("by name: the same wherever settings are shown", () => {
  for (const [name, settings, shown] of CASES) {
    expect([name, redactSettings(settings, SecretSettings.NONE)]).toEqual([name, shown]);
    expect([name, redactSettings(settings, new SecretPlaces(new Set()))]).toEqual([name, shown]);
  }
});

test("by schema and by places: what is known hides the whole of it", () => {
  const known = SecretSettings.ofSchema({ properties: { a: { properties: { "b/c": { writeOnly: true } } } } });
  const settings = { a: { "b/c": { d: 1 }, e: 2 } };
  expect(redactSettings(settings, known)).toEqual({ a: { "b/c": X, e: 2 } });
  expect(redactSettings(settings, new SecretPlaces(new Set(known.pointersIn(settings))))).toEqual({ a: { "b/c": X, e: 2 } });
});

test("texts to look for: all that is hidden, also within it and as JSON has it, long ones first, short ones not", () => {
  const short = "x".repeat(CONFIG_LIMITS.secretChars - 1);
  const settings = { keys: { a: `${short}y`, b: short, c: 'quo"ted' }, pin: { deep: ["within-a-pin", 123456] }, mode: "shown" };
  const known = SecretSettings.ofSchema({ properties: { pin: { format: "password" } } });
  expect(secretTexts(settings, known)).toEqual(["within-a-pin", 'quo\\"ted', 'quo"ted', "123456", `${short}y`]);
});
