import { expect, test } from "bun:test";
import { CONFIG_LIMITS } from "../core/limits.ts";
import { readJsonStream } from "./json-reader.ts";
import { parseResources } from "./parse.ts";

const service = (spec: string) =>
  `{"apiVersion":"selvedge.dev/v1","kind":"Service","metadata":{"name":"shop"},\n "spec":${spec}}`;
const GOOD = service('{"endpoints":["127.0.0.1:1"]}');

test("a stream of JSON documents", () => {
  const text = `${GOOD}\n---\r\n\n${GOOD}\n--- \n`;
  const documents = readJsonStream(text);
  expect(documents?.map((each) => each.value)).toEqual([JSON.parse(GOOD), JSON.parse(GOOD)]);
  for (const each of documents ?? []) expect(text.slice(each.offset, each.offset + each.text.length)).toBe(each.text);
});

test.each([
  ["YAML", "a: 1"],
  ["flow YAML", "{a: 1}"],
  ["a comment", `${GOOD} # x`],
  ["a list", `${GOOD}\n---\n[1]`],
  ["a variable", service('"$NAME"')],
  ["two equal keys", service('{"a":1,"a":1}')],
  ["two equal keys, one escaped", service('{"a":1,"\\u0061":2}')],
  ["__proto__", service('{"__proto__":1}')],
  ["a merge key", service('{"<<":1}')],
  ["a number beyond what is exact", service("12345678901234567890")],
  ["a number that is infinite", service("1e999")],
  ["too deep", service("[".repeat(CONFIG_LIMITS.depth) + "]".repeat(CONFIG_LIMITS.depth))],
  ["broken JSON", `${GOOD}\n---\n{`],
])("is left to the YAML reader: %s", (_, text) => {
  expect(readJsonStream(text)).toBeUndefined();
});

test("texts that look like keys or separators are neither", () => {
  const value = { a: '"b":', 'c":"\\': "---", d: "\n---\n" };
  expect(readJsonStream(JSON.stringify(value))?.[0]?.value).toEqual(value);
});

/** The same document for the YAML reader: a comment makes it look there. */
const asYaml = (text: string): string => `${text}\n# yaml`;

test("what is read and where issues stand is the same as by the YAML reader", () => {
  const bad = service('{"endpoints":["127.0.0.1:99999"],"unknown":{"x":1}, "balance": 7}');
  for (const text of [GOOD, bad, `${GOOD}\n---\n${bad}\n---\n{"apiVersion":"x"}\n---\n{}`]) {
    const fast = parseResources(text, { file: "a" });
    const slow = parseResources(asYaml(text), { file: "a" });
    expect(fast.issues).toEqual(slow.issues);
    expect(fast.resources.map((each) => each.written)).toEqual(slow.resources.map((each) => each.written));
    for (const [i, each] of fast.resources.entries()) {
      for (const path of [[], ["spec"], ["spec", "endpoints", 0], ["spec", "gone"]])
        expect(each.locate(path)).toEqual(slow.resources[i]?.locate(path) ?? { file: "", line: 0, column: 0 });
    }
  }
});
