import assert from "node:assert/strict";
import { SeededRng } from "../src/core/rng.ts";
import { Http1Codec } from "../src/proxy/codec/http1.ts";
import { cutsOf, loadGoldens, runCase } from "./kit/http1-golden.ts";
import { describe, test } from "./kit/suite.ts";

const goldens = loadGoldens();

describe(`HTTP/1.1 codec: ${goldens.length} golden cases, whole, byte by byte and in random pieces`, () => {
  test("there are at least 250, each with its own name", () => {
    assert.ok(goldens.length >= 250, `only ${goldens.length}`);
    assert.equal(new Set(goldens.map((each) => `${each.file} ${each.name}`)).size, goldens.length);
  });

  for (const each of goldens) {
    test(`${each.file}: ${each.name}`, () => {
      const rng = new SeededRng(each.input.length + 1);
      assert.notEqual(each.expected, "");
      assert.equal(runCase(each, Http1Codec, cutsOf(each.input.length, "whole")), each.expected, "whole");
      // What comes behind an answer is judged by whether it came with it.
      if (each.options.some(([key]) => key === "whole")) return;
      assert.equal(runCase(each, Http1Codec, cutsOf(each.input.length, "bytes")), each.expected, "byte by byte");
      for (let i = 0; i < 5; i++) {
        const cuts = cutsOf(each.input.length, rng);
        assert.equal(runCase(each, Http1Codec, cuts), each.expected, `cut at ${cuts.join(", ")}`);
      }
    });
  }
});
