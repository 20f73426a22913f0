import { expect, test } from "bun:test";
import { utf8Text } from "../../core/bytes.ts";
import { ALL_SETTINGS, configOf, TRANSFORM, transformsOf } from "./settings.ts";

const read = (settings: string): Record<string, string> =>
  Object.fromEntries([...configOf(settings)].map(([name, value]) => [name, utf8Text(value)]));

test("texts are themselves, everything else is JSON, and the whole is there as well", () => {
  const settings = '{"text":"\u00e9","number":1.50,"flag":true,"nothing":null,"list":[1,{"a":"b"}]}';
  expect(read(settings)).toEqual({
    ...{ text: "\u00e9", number: "1.5", flag: "true", nothing: "null", list: '[1,{"a":"b"}]' },
    [ALL_SETTINGS]: settings,
  });
});

test("settings that are no object are one text", () => {
  expect(read("[1]")).toEqual({ [ALL_SETTINGS]: "[1]" });
  expect(read("")).toEqual({ [ALL_SETTINGS]: "" });
});

test("the whole cannot be replaced by a member of its name", () => {
  const settings = `{"${ALL_SETTINGS}":"x"}`;
  expect(read(settings)[ALL_SETTINGS]).toBe(settings);
});

test("functions for bodies are named for each direction, or not at all", () => {
  expect(transformsOf(`{"${TRANSFORM}":{"request":"a"}}`)).toEqual({ request: "a", response: undefined });
  for (const settings of ["", "{}", "[1]", '"text"', "null"])
    expect(transformsOf(settings)).toEqual({ request: undefined, response: undefined });
  for (const named of ["[]", "null", "1", '{"body":"a"}', '{"request":""}', '{"response":{}}'])
    expect(() => transformsOf(`{"${TRANSFORM}":${named}}`)).toThrow(TRANSFORM);
});
