// Invariant: parsing and compiling never throw; every issue has a known code and stands inside the text; a text either compiles or has issues.
import assert from "node:assert/strict";
import process from "node:process";
import { ISSUE_CODES } from "../../src/config/codes.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { compileText } from "../kit/config.ts";
import { WHOLE_CONFIG } from "../kit/config-texts.ts";
import { describe, test } from "../kit/suite.ts";

/** More rounds by hand: `FUZZ_ROUNDS=100000 FUZZ_SEED=7 bun test …`. */
const ROUNDS = Number(process.env.FUZZ_ROUNDS ?? 600);
const SEED = Number(process.env.FUZZ_SEED ?? 20_261_121);

const PIECES = [
  "{",
  "}",
  "[",
  "]",
  ":",
  ": ",
  "-",
  "- ",
  ",",
  "\n",
  "\n  ",
  "\n---\n",
  "...",
  "#",
  " #x",
  "&a ",
  "*a",
  "<<: *a",
  "!!str ",
  "!x ",
  "|",
  ">",
  "'",
  '"',
  "%",
  "@",
  "`",
  "\t",
  "\r",
  "\0",
  "\u2028",
  "\ufeff",
  "\ud800",
  "${",
  // biome-ignore lint/suspicious/noTemplateCurlyInString: what users write
  "${A}",
  "${A:-",
  "$$",
  "null",
  "true",
  "-1",
  "1e999",
  ".nan",
  "0x10",
  "99999999999999999999",
  "__proto__",
  "constructor",
  "kind: List\nitems: [",
  "{a: ",
  "[[[[",
  "~",
  "? ",
  "=",
];

function mutate(text: string, rng: SeededRng): string {
  let mutated = text;
  for (let i = rng.below(4); i >= 0; i--) {
    const at = rng.below(mutated.length + 1);
    const length = rng.below(12);
    const piece = PIECES[rng.below(PIECES.length)] as string;
    const from = rng.below(mutated.length + 1);
    switch (rng.below(5)) {
      case 0: // insert
        mutated = mutated.slice(0, at) + piece + mutated.slice(at);
        break;
      case 1: // remove
        mutated = mutated.slice(0, at) + mutated.slice(at + length);
        break;
      case 2: // replace
        mutated = mutated.slice(0, at) + piece + mutated.slice(at + length);
        break;
      case 3: // copy from elsewhere
        mutated = mutated.slice(0, at) + mutated.slice(from, from + 10 * length) + mutated.slice(at);
        break;
      default: // cut off
        if (rng.below(8) === 0) mutated = mutated.slice(0, at);
    }
  }
  return mutated;
}

/** True when it compiled. */
function check(text: string): boolean {
  const { snapshot, all } = compileText(text, { env: { A: "1" } });
  const lines = text.split("\n");
  for (const issue of all) {
    assert.ok(Object.hasOwn(ISSUE_CODES, issue.code), issue.code);
    if (issue.code === "too_many_issues") continue;
    assert.ok(issue.line >= 1 && issue.line <= lines.length, `line ${issue.line} of ${lines.length}: ${issue.message}`);
    const length = (lines[issue.line - 1] as string).length;
    assert.ok(issue.column >= 1 && issue.column <= length + 1, `column ${issue.column} of ${length}: ${issue.message}`);
    assert.ok(issue.message.length > 0 && issue.message.length < 2_000, issue.message);
  }
  assert.ok(snapshot !== undefined || all.length > 0);
  return all.length === 0;
}

describe("fuzz: configuration", () => {
  test(`${ROUNDS} mutations of a whole configuration, seed ${SEED}`, () => {
    const rng = new SeededRng(SEED);
    const documents = WHOLE_CONFIG.split("---\n");
    let good = 0;
    for (let round = 0; round < ROUNDS; round++) {
      // One document of it mostly: most mutations of a long text hit the same few things.
      const text = rng.below(4) === 0 ? WHOLE_CONFIG : (documents[rng.below(documents.length)] as string);
      const mutated = mutate(text, rng);
      try {
        if (check(mutated)) good++;
      } catch (error) {
        throw new Error(`round ${round}: ${error instanceof Error ? error.message : error}\n${JSON.stringify(mutated)}`, {
          cause: error,
        });
      }
    }
    assert.ok(good > 0 && good < ROUNDS, `${good} of ${ROUNDS} compiled`);
  }, 600_000);

  test("soup of pieces", () => {
    const rng = new SeededRng(SEED + 1);
    for (let round = 0; round < ROUNDS; round++) {
      const text = Array.from({ length: rng.below(30) }, () => PIECES[rng.below(PIECES.length)]).join("");
      try {
        check(text);
      } catch (error) {
        throw new Error(`round ${round}: ${error instanceof Error ? error.message : error}\n${JSON.stringify(text)}`, {
          cause: error,
        });
      }
    }
  }, 600_000);
});
