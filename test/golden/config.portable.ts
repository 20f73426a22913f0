/**
 * Golden cases of configuration: `config/*.yaml`, each an input, a line `---expect---`, and what must come out:
 *   12:7 unknown_key Route default/shop spec.x: message (hint)   an issue; all of them, in order
 *   warning 3:5 certificate_expired …                            a warning
 *   routes[0].hosts = ["a.example"]                              a value of the compiled snapshot
 * A case that expects no issue must compile. The first lines may say `# env: NAME=value …` and `# now: 2026-01-01`.
 * `UPDATE_GOLDEN=1` writes what came out; read the difference before you commit it.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import process from "node:process";
import { ISSUE_CODES } from "../../src/config/codes.ts";
import { type ConfigIssue, formatIssue } from "../../src/config/issue.ts";
import { compileText, GOLDEN_CONFIG } from "../kit/config.ts";
import { describe, test } from "../kit/suite.ts";

const MARK = "---expect---\n";
const cases = readdirSync(GOLDEN_CONFIG)
  .filter((name) => name.endsWith(".yaml"))
  .sort();
const seen = new Set<string>();

describe("golden configuration", () => {
  for (const name of cases) {
    test(name, () => {
      const [input = "", expected = ""] = readFileSync(GOLDEN_CONFIG + name, "utf8").split(MARK);
      const wanted = expected.split("\n").filter((line) => line !== "");
      const found = run(input, wanted);
      if (process.env.UPDATE_GOLDEN === "1") writeFileSync(GOLDEN_CONFIG + name, `${input}${MARK}${found.join("\n")}\n`);
      else assert.deepEqual(found, wanted);
    });
  }

  test("there are at least 80 cases, and every issue code but those of sheer size has one", () => {
    assert.ok(cases.length >= 80, `${cases.length} cases`);
    const bySize = ["document_too_large", "too_many_resources", "too_many_issues", "bad_settings", "internal"];
    // Those of artifacts need a registry, what a module declares a module, trials and what is missing a plane, those of running a proxy: other suites have them.
    const ofRunning = ["no_resources"];
    const ofModules = /^(artifact_|registry_|bad_artifact$|capability_not_granted$|trial_failed$|snapshot_missing$|module_lost$)/;
    const elsewhere = [...bySize, ...ofRunning];
    const missing = Object.keys(ISSUE_CODES).filter(
      (code) => !seen.has(code) && !elsewhere.includes(code) && !ofModules.test(code),
    );
    assert.deepEqual(missing, []);
  });
});

function run(input: string, wanted: readonly string[]): string[] {
  const directive = (name: string): string => new RegExp(`^# ${name}: (.*)$`, "m").exec(input)?.[1] ?? "";
  const env = Object.fromEntries(
    directive("env")
      .split(" ")
      .filter((each) => each !== "")
      .map((each) => [each.slice(0, each.indexOf("=")), each.slice(each.indexOf("=") + 1)]),
  );
  const now = directive("now");
  const compiled = compileText(input, { env, ...(now === "" ? {} : { nowMs: Date.parse(now) }) });
  const lines = compiled.all.map(show);
  lines.push(...compiled.warnings.map((each) => `warning ${show(each)}`));
  for (const line of wanted) {
    const path = /^([A-Za-z]\S*) = /.exec(line)?.[1];
    if (path !== undefined) lines.push(`${path} = ${JSON.stringify(pickValue(compiled.snapshot, path))}`);
  }
  return lines;
}

function show(issue: ConfigIssue): string {
  seen.add(issue.code);
  assert.ok(Object.hasOwn(ISSUE_CODES, issue.code), `${issue.code} is not in the table`);
  return formatIssue(issue).replace(/^case\.yaml:?/, "");
}

function pickValue(value: unknown, path: string): unknown {
  let at = value;
  for (const step of path.split(/[.[\]]+/).filter((each) => each !== "")) {
    at = typeof at === "object" && at !== null ? (at as Record<string, unknown>)[step] : undefined;
  }
  return at ?? null;
}
