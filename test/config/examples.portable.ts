import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { CONFIGURATION_PAGE, EXAMPLES as EXAMPLE_RESOURCES, renderConfiguration } from "../../scripts/docs.ts";
import { demoConfigYaml } from "../../src/app/demo.ts";
import { createFilterTrial } from "../../src/app/filters.ts";
import { compileSnapshot } from "../../src/config/compile.ts";
import { checkFilters } from "../../src/config/filter-check.ts";
import { type ConfigIssue, formatIssue } from "../../src/config/issue.ts";
import { builtinModules } from "../../src/config/modules.ts";
import { parseResources } from "../../src/config/parse.ts";
import { readConfigFiles } from "../../src/config/read-files.ts";
import { KINDS } from "../../src/config/schema/index.ts";
import { readPath } from "../../src/config/schema/paths.ts";
import type { ListenerConfig } from "../../src/config/snapshot.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { Failure } from "../../src/core/failure.ts";
import { JsonLog, type LogLevel, SILENT_LOG } from "../../src/core/log.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { renormalisePath } from "../../src/proxy/codec/path.ts";
import { compileText, readFixture } from "../kit/config.ts";
import { describe, test } from "../kit/suite.ts";

const EXAMPLES = fileURLToPath(new URL("../../examples/", import.meta.url));
const env = { API_KEY_SHA256: "0".repeat(64) };

describe("examples", () => {
  const names = readdirSync(EXAMPLES, { withFileTypes: true }).filter((each) => each.isDirectory() && each.name !== "filters");
  for (const { name } of names) {
    test(`${name} compiles with its defaults and with other ports, and its README names its command`, () => {
      const text = readFileSync(`${EXAMPLES}${name}/config.yaml`, "utf8");
      const { snapshot, all } = compileText(text, { env });
      assert.deepEqual(all.map(formatIssue), []);
      assert.ok((snapshot?.listeners.length ?? 0) > 0);
      for (const { address } of snapshot?.listeners ?? []) assert.ok(address.kind === "unix" || address.port >= 8080);
      const readme = readFileSync(`${EXAMPLES}${name}/README.md`, "utf8");
      // What comes over NATS has no environment: no variables.
      if (name === "nats") return assert.ok(readme.includes("cat examples/nats/config.yaml"));
      assert.ok(readme.includes(`node bin/selvedge.mjs proxy -f examples/${name}/config.yaml`));
      const moved = compileText(text, { env: { ...env, PORT: "0", TLS_PORT: "18443", SOCKET: "/run/moved.sock" } });
      assert.deepEqual(moved.all.map(formatIssue), []);
      const isMoved = ({ address }: ListenerConfig): boolean =>
        address.kind === "unix" ? address.path === "/run/moved.sock" : address.port === 0;
      assert.ok(moved.snapshot?.listeners.some(isMoved));
    });
  }

  test("a Mesh of the documentation has the name of the demo's, so that it can be applied there", () => {
    const root = fileURLToPath(new URL("../../", import.meta.url));
    const pages = ["README.md", ...readdirSync(`${root}docs`).flatMap((name) => (name.endsWith(".md") ? [`docs/${name}`] : []))];
    const demo = demoConfigYaml(8080, 8443, { certificatePem: "", keyPem: "" }, "access.log");
    const texts = [demo, ...pages.map((page) => readFileSync(`${root}${page}`, "utf8"))];
    const names = texts.flatMap((text) =>
      [...text.matchAll(/^kind: Mesh\nmetadata: \{ name: (\S+) \}/gm)].map((match) => match[1]),
    );
    assert.ok(names.length > 3);
    assert.deepEqual([...new Set(names)], ["mesh"]);
  });

  test("what a filter says in its trial is no error of a filter that serves", async () => {
    const lines: string[] = [];
    const clock = new SystemClock();
    const text = `apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: never }
spec: { module: { builtin: rate-limit }, settings: { limits: [{ name: a, requests: -1, per: second, key: [clientIp] }] } }
`;
    const { resources } = parseResources(text, { file: "f", env: {} });
    const compiled = compileSnapshot(
      resources.map(({ resource }) => resource),
      { revision: 1, modules: builtinModules(), readFile: readFixture },
    );
    const refusedAt = async (level: LogLevel): Promise<unknown> => {
      const tryFilter = createFilterTrial(clock, new JsonLog(level, clock, (line) => lines.push(line)));
      const found = await checkFilters(compiled, tryFilter, () => ({ file: "f", line: 0, column: 0 }));
      return found.map((issue) => JSON.stringify(issue).includes("requests"));
    };
    assert.deepEqual([await refusedAt("info"), lines], [[true], []]);
    assert.deepEqual(await refusedAt("debug"), [true]);
    const told = lines.map((line) => JSON.parse(line)).filter(({ message }) => message.includes("requests"));
    assert.deepEqual(
      told.map(({ level, filter, trial }) => [level, filter, trial]),
      [["debug", "default/never", true]],
    );
  });

  test("the built-in filters accept their settings (npm run build makes them)", async () => {
    const modules = builtinModules();
    assert.deepEqual(modules.builtins, ["rate-limit", "authz", "transform"]);
    const tryFilter = createFilterTrial(new SystemClock(), SILENT_LOG);
    const issues: ConfigIssue[] = [];
    let tried = 0;
    for (const { name } of names) {
      const read = readConfigFiles([`${EXAMPLES}${name}/config.yaml`], env);
      const resources = read.resources.map((each) => each.resource).filter((each) => each.kind === "Filter");
      const compiled = compileSnapshot(resources, { revision: 1, modules, readFile: readFixture });
      tried += compiled.snapshot?.filters.length ?? 0;
      issues.push(...(await checkFilters(compiled, tryFilter, () => ({ file: name, line: 0, column: 0 }))));
    }
    assert.deepEqual(issues.map(formatIssue), []);
    assert.equal(tried, 5);
    const bad = compileText(
      "apiVersion: selvedge.dev/v1\nkind: Filter\nmetadata: { name: f }\nspec: { module: { builtin: rate-limit }, settings: { limits: [{ name: a, requests: 1, per: minut, key: [clientIp] }] } }\n",
      { modules },
    );
    const found = await checkFilters(bad, tryFilter, () => ({ file: "", line: 0, column: 0 }));
    assert.deepEqual(
      found.map((each) => each.path),
      ["spec.settings.limits[0].per"],
    );
  });

  test("the quickstart has at most 20 lines", () => {
    const lines = readFileSync(`${EXAMPLES}quickstart/config.yaml`, "utf8").trimEnd().split("\n");
    assert.ok(lines.length <= 20, `${lines.length} lines`);
  });
});

describe("documentation", () => {
  test("docs/configuration.md is what the schema says (scripts/docs.ts writes it)", () => {
    assert.equal(readFileSync(CONFIGURATION_PAGE, "utf8"), renderConfiguration());
  });

  test("its examples are one configuration, of every kind, that compiles and whose filters accept their settings", async () => {
    const compiled = compileText(EXAMPLE_RESOURCES, { modules: builtinModules() });
    assert.deepEqual(compiled.all.map(formatIssue), []);
    assert.deepEqual(compiled.warnings?.map(formatIssue) ?? [], []);
    assert.deepEqual(compiled.resources.map(({ resource }) => resource.kind).sort(), [...KINDS].sort());
    const tryFilter = createFilterTrial(new SystemClock(), SILENT_LOG);
    const issues = await checkFilters(compiled, tryFilter, () => ({ file: "examples", line: 0, column: 0 }));
    assert.deepEqual(issues.map(formatIssue), []);
  });
});

describe("paths in configuration and in requests", () => {
  test("have one normal form: what configuration accepts is what the codec makes of it", () => {
    const pieces = [
      "/",
      "a",
      "B",
      "~",
      "-",
      ".",
      "..",
      "%7e",
      "%41",
      "%2e",
      "%2F",
      "%20",
      "%c3%a9",
      "%25",
      "%",
      '"',
      "<",
      "[",
      "^",
      "{",
      "|",
      ";",
      "!",
      "@",
      "\\",
      "%00",
      "%c0%af",
      "%1f",
    ];
    const rng = new SeededRng(5);
    const keepAll = { encodedSlash: "keep", doubleSlash: "keep", semicolon: "keep" } as const;
    let accepted = 0;
    for (let round = 0; round < 20_000; round++) {
      const text = `/${Array.from({ length: rng.below(6) }, () => pieces[rng.below(pieces.length)]).join("")}`;
      const path = readPath(text);
      if (typeof path !== "string") continue;
      accepted++;
      for (const each of [text, path]) {
        const normal = renormalisePath(each, keepAll);
        assert.ok(!(normal instanceof Failure), `${text}: ${normal instanceof Failure ? normal : ""}`);
        assert.equal(normal.path, path, text);
      }
    }
    assert.ok(accepted > 2_000, `${accepted}`);
  });
});
