/** A regex is a table or it is refused: the table says what the engine says, and what it takes to make is bounded and counted alike. */
import assert from "node:assert/strict";
import { RE2JS } from "re2js";
import { CompileContext } from "../../src/config/compile/context.ts";
import { refuseTooManySteps } from "../../src/config/compile/pattern-total.ts";
import { compileSnapshot, locatorOf } from "../../src/config/compile.ts";
import { type ConfigIssue, formatIssue } from "../../src/config/issue.ts";
import { parseResources } from "../../src/config/parse.ts";
import { writtenOut } from "../../src/config/pattern-size.ts";
import { allowPatternSteps, patternStepsOf } from "../../src/config/pattern-steps.ts";
import { buildPatternTable, matchesTable, type PatternTable } from "../../src/config/pattern-table.ts";
import { readRegex } from "../../src/config/schema/paths.ts";
import { Refusal } from "../../src/config/schema/text.ts";
import type { RouteConfig } from "../../src/config/snapshot.ts";
import { CONFIG_LIMITS } from "../../src/core/limits.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { TEST_MODULES } from "../kit/config.ts";
import { describe, test } from "../kit/suite.ts";

function tableOf(expression: string): PatternTable {
  const table = buildPatternTable(RE2JS, expression);
  if ("message" in table) throw new Error(`${expression}: ${table.message}`);
  return table;
}

/** `steps`: what may be taken from now on; 0: what those before left. */
const why = (expression: string, steps: number = CONFIG_LIMITS.regexStepsTotal): string => {
  if (steps > 0) allowPatternSteps(steps);
  const read = readRegex(expression);
  return read instanceof Refusal ? `${read.code} ${read.message} (${read.hint})` : "";
};

const routeText = (regex: string): string =>
  `---\napiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: ${regex.slice(1, 3)} }\nspec: { rules: [{ matches: [{ path: { regex: "${regex}" } }], respond: {} }] }\n`;
const noFile = (): never => {
  throw new Error("no file");
};

const HONEST = [
  "/api/v[0-9]+/users/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
  ".*\\.(png|jpe?g|css|js|woff2?)",
  "/blog/\\d{4}/\\d{2}/[\\w-]{1,100}",
  "(?:\\w{1,30}-){1,30}!",
  "[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\\.){1,8}[A-Za-z]{2,63}",
  "(?i).*(select|union|insert|drop).*(from|into|table).*",
  "[^/]{1,255}/[^/]{1,255}",
  "\\p{L}{1,20}",
];
const LARGE = ["(?:\\w{1,30}-?){1,30}!", "(?:[a-z]{0,50}){0,19}x", "(?:(?:a?){31}){31}", ".*a.{14}", ".*(a|b).{0,12}c.{0,12}d"];

describe("tables of expressions", () => {
  test("a table answers what the engine answers, also for assertions and bytes above ASCII", () => {
    const rng = new SeededRng(5);
    const parts = [
      "a",
      "b+",
      "[^a]",
      ".",
      "\\b",
      "^",
      "$",
      "(?m:^)",
      "(?i:K)",
      "\\w*",
      "\\W",
      "(a|bb)*",
      "c{2,4}",
      "\\xe9",
      "\\n?",
      "(?s:.)",
      "\\B",
      "\\z",
    ];
    const letters = ["a", "b", "c", "k", "K", "-", "\n", "\u00e9", "\u00ff", "_"];
    for (let i = 0; i < 2_000; i++) {
      const expression = Array.from({ length: 1 + rng.below(6) }, () => parts[rng.below(parts.length)]).join("");
      const [table, engine] = [tableOf(expression), RE2JS.compile(expression)];
      for (let n = 0; n < 10; n++) {
        const text = Array.from({ length: rng.below(8) }, () => letters[rng.below(letters.length)]).join("");
        assert.equal(matchesTable(table, text), engine.testExact(text), `${expression} on ${JSON.stringify(text)}`);
      }
    }
    assert.equal(matchesTable(tableOf("é+"), "\u00c3\u00a9"), true);
    assert.equal(matchesTable(tableOf(".*"), "\u0100"), false);
  });

  test("what people write has one; what grows out of all bounds is refused with what makes it large", () => {
    for (const each of HONEST) assert.equal(why(each), "", each);
    for (const each of LARGE)
      assert.match(why(each), /^bad_regex The regular expression is too large\. Its table .*\(large are /, each);
  });

  test("at the edge of the instructions, which are counted with repetitions written out", () => {
    const fits = `a{1000}`.repeat(4) + "a".repeat(CONFIG_LIMITS.regexInstructions - 4_002);
    assert.equal(RE2JS.compile(fits).programSize(), CONFIG_LIMITS.regexInstructions);
    assert.equal(why(fits), "");
    assert.match(why(`${fits}a`), /It takes 4097 instructions once repetitions are written out; 4096 at most\./);
  });

  test("what repetitions would write out is known before an engine has to do it", () => {
    const sizes: readonly (readonly [string, number])[] = [
      ["", 0],
      ["abc", 3],
      ["a{3}b", 4],
      ["(?:ab){2,5}c", 11],
      ["(a(?P<x>b{3})){2,}", 8],
      ["(?i)[]a-z[:alpha:]\\]]{4}", 4],
      ["\\x{41}{2}\\pL{3}\\p{Greek}", 6],
      ["\\Q(({9}\\E+a\\{2}", 9],
      ["a{,3}{x", 7],
      ["((", 0],
      [")a{2}", 2],
      ["[", 1],
      ["\\", 1],
    ];
    for (const [expression, atoms] of sizes) assert.equal(writtenOut(expression), atoms, expression);
    // 911 bytes took the engine 2.8 s.
    const large = `(?:${"a?b|".repeat(226)}c){1000}`;
    assert.match(why(large), /It has more than 65536 characters and classes once repetitions are written out\./);
    assert.equal(buildPatternTable(RE2JS, large).steps, large.length);
    assert.equal(why(`${"(?:a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p)".repeat(4)}{1000}`), "", "alternatives that become one class");
  });

  test("at the edge of the steps: the first length that does not fit is the same on every runtime", () => {
    const lengths = Array.from({ length: 20 }, (_, i) => i).filter((i) => why(`.*a.{${i}}`) === "");
    assert.deepEqual(lengths, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert.ok(tableOf(".*a.{9}").steps <= CONFIG_LIMITS.regexSteps);
  });

  test("what the expressions of one text may take together is counted before one is looked at", () => {
    const steps = tableOf("/m1/a+").steps;
    assert.equal(why("/m1/a+", steps + 1), "");
    assert.equal(why("/m2/a+", 0), "");
    assert.match(why("/m3/a+", 0), /^bad_regex All regular expressions together take more than 2000000 steps/);
    assert.equal(why("/m1/a+", 0), "", "one that is known costs nothing");
    // A text that is read has its own allowance.
    assert.deepEqual(parseResources(routeText("/m4/a+"), { file: "one.yaml" }).issues, []);
  });

  test("all of a configuration together: at the edge, and the first route beyond is named with its place", () => {
    const { resources } = parseResources(["/t1/a+", "/t2/a+"].map((each) => routeText(each)).join(""), { file: "two.yaml" });
    const options = { revision: 1, modules: TEST_MODULES, readFile: noFile, locate: locatorOf(resources) };
    const { snapshot } = compileSnapshot(
      resources.map((each) => each.resource),
      options,
    );
    const routes = snapshot?.routes ?? [];
    const total = tableOf("/t1/a+").steps + tableOf("/t2/a+").steps;
    const stepsOf = (each: RouteConfig): number[] => [...patternStepsOf(each).values()];
    assert.deepEqual(routes.map(stepsOf), [[tableOf("/t1/a+").steps], [tableOf("/t2/a+").steps]]);
    for (const [max, issues] of [
      [total, 0],
      [total - 1, 1],
    ] as const) {
      const context = new CompileContext(
        resources.map((each) => each.resource),
        options,
      );
      // One that comes again is made once.
      refuseTooManySteps(context, [...routes, ...routes], max);
      assert.equal(context.issues.length, issues);
      if (issues > 0)
        assert.match(formatIssue(context.issues[0] as ConfigIssue), /^two\.yaml:\d+:\d+.*bad_regex.*default\/t2.*all together/s);
    }
  });
});
