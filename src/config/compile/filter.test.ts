import { expect, test } from "bun:test";
import { compileText } from "../../../test/kit/config.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { builtinModules } from "../modules.ts";
import { redactSnapshot } from "../sections.ts";

const CORE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const COMPONENT = Uint8Array.of(0, 0x61, 0x73, 0x6d, 0x0d, 0, 1, 0);

function compiled(settings: unknown, bytes = CORE) {
  const digest = `sha256:${"1".repeat(64)}`;
  const modules = { ...builtinModules(new Map()), byDigest: () => ({ digest, bytes }) };
  const spec = { module: { digest }, settings };
  return compileText(JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Filter", metadata: { name: "a" }, spec }), {
    modules,
  });
}
const settingsOf = (settings: unknown, bytes?: Uint8Array<ArrayBuffer>) =>
  compiled(settings, bytes).snapshot?.filters[0]?.settings;

test("settings of modules of other hosts: a text is handed over as it is, a mapping as JSON", () => {
  for (const text of ["", "plain words", "allow: [a]\ndeny: [b]\n", "17", "{{ template }}"]) expect(settingsOf(text)).toBe(text);
  expect(settingsOf({ b: 1, a: "x" })).toBe('{"a":"x","b":1}');
  // Its contract says JSON.
  expect(settingsOf("plain words", COMPONENT)).toBe('"plain words"');
  const { snapshot } = compiled("plain words");
  expect(snapshot && redactSnapshot(snapshot).filters[0]?.settings).toBe("plain words");
});

test("a text that is JSON is refused, because nobody could hide its secrets or say what is wrong in it", () => {
  const problems = (settings: unknown) => compiled(settings).all.map(({ code, hint }) => `${code} ${hint}`);
  for (const text of ['{"apiKey": "x"}', ' [{"token": "x"}]'])
    expect(problems(text)).toEqual(["wrong_type write them as a mapping"]);
  expect(problems("x".repeat(CONFIG_LIMITS.textBytes))).toEqual([]);
  expect(problems("x".repeat(CONFIG_LIMITS.textBytes + 1))).toEqual(["out_of_range "]);
  expect(problems(["a"])).toEqual(["wrong_type "]);
});
