import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { firstIssues } from "../../src/config/field-issues.ts";
import { type ConfigIssue, orderIssues } from "../../src/config/issue.ts";
import { type Json, parseResources, parseStored } from "../../src/config/parse.ts";
import { jsonSchema, KINDS } from "../../src/config/schema/index.ts";
import { formatDuration, formatSize, readDuration, readSize } from "../../src/config/schema/units.ts";
import { editDistance, nearest } from "../../src/config/suggest.ts";
import { CONFIG_LIMITS } from "../../src/core/limits.ts";
import { compileText } from "../kit/config.ts";
import { WHOLE_CONFIG } from "../kit/config-texts.ts";
import { describe, test } from "../kit/suite.ts";

const SRC = fileURLToPath(new URL("../../src/", import.meta.url));
const codes = (text: string, env: Record<string, string> = {}) =>
  parseResources(text, { file: "f", env }).issues.map((each) => each.code);
const mesh = (spec: string): string => `apiVersion: selvedge.dev/v1\nkind: Mesh\nmetadata: { name: m }\nspec: ${spec}\n`;

describe("parseResources", () => {
  test("what is stored parses to the same resource", () => {
    for (const { resource, written } of parseResources(WHOLE_CONFIG, { file: "f" }).resources) {
      const again = parseStored(JSON.parse(JSON.stringify(written)), "<nats>");
      assert.deepEqual(again.issues, []);
      assert.deepEqual(again.resources[0]?.resource, resource);
    }
  });

  test("stored text is not searched for variables again", () => {
    const text =
      "apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: r }\nspec: { rules: [{ respond: { body: '$${HOME}' } }] }\n";
    const written = parseResources(text, { file: "f" }).resources[0]?.written as Json;
    const again = parseStored(written, "<nats>");
    assert.deepEqual(again.issues, []);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: what users write
    assert.ok(JSON.stringify(again.resources[0]?.written).includes("${HOME}"));
  });

  test("JSON and YAML of the same resources are the same", () => {
    const resources = parseResources(WHOLE_CONFIG, { file: "f" }).resources;
    for (const indent of [undefined, 2, "\t"]) {
      const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: resources.map((each) => each.written) }, null, indent);
      const parsed = parseResources(list, { file: "f", format: "json" });
      assert.deepEqual(parsed.issues, []);
      assert.deepEqual(
        parsed.resources.map((each) => each.resource),
        resources.map((each) => each.resource),
      );
    }
    assert.deepEqual(
      parseResources(mesh("{}"), { file: "f", format: "json" }).issues.map((each) => each.code),
      ["yaml_syntax"],
    );
  });

  test("mistakes beyond those that are listed are only counted", () => {
    const keys = Object.fromEntries(Array.from({ length: 50_000 }, (_, i) => [`rulez${i}`, 1]));
    const spec = { rules: [{ respond: { status: 204 } }], ...keys };
    const route = { apiVersion: "selvedge.dev/v1", kind: "Route", metadata: { name: "r" }, spec };
    const items = [route, { ...route, metadata: { name: "s" }, spec: { rules: [], ...keys } }];
    const { issues, partial } = parseResources(JSON.stringify({ kind: "List", items }), { file: "f" });
    assert.equal(issues.length, CONFIG_LIMITS.issues + 1);
    assert.equal(issues[0]?.path, "spec.rulez0");
    assert.equal(issues.at(-2)?.path, `spec.rulez${CONFIG_LIMITS.issues - 1}`);
    const behind = "and the resource behind them was not read.";
    assert.equal(issues.at(-1)?.message, `${50_000 - CONFIG_LIMITS.issues} more issues are not listed, ${behind}`);
    assert.deepEqual(partial, []);
    const found = [
      { code: "custom", path: [], message: "", input: 0 },
      { code: "unrecognized_keys", path: [], keys: ["a", "b", "c"], message: "", input: 0 },
      { code: "custom", path: [], message: "", input: 0 },
    ] as const;
    const { issues: first, more } = firstIssues(found as unknown as Parameters<typeof firstIssues>[0], 3);
    assert.deepEqual(first, [found[0], { ...found[1], keys: ["a", "b"] }]);
    assert.equal(more, 2);
  });

  test("one mistake more than are listed, and nothing behind it is read", () => {
    const right = {
      apiVersion: "selvedge.dev/v1",
      kind: "Route",
      metadata: { name: "a" },
      spec: { rules: [{ respond: { status: 204 } }] },
    };
    const wrongs = [
      { ...right, spec: { ...right.spec, rulez: 1 } },
      { ...right, kind: "Rout" },
      { ...right, apiVersion: "v1" },
      0,
    ];
    const named = (each: object | number, i: number) =>
      typeof each === "number" ? each : { ...each, metadata: { name: `r${i}` } };
    for (const wrong of wrongs) {
      const read = (mistakes: number, rights: number, asYaml: boolean) => {
        const items = [...new Array(mistakes).fill(wrong), ...new Array(rights).fill(right)].map(named);
        const list = JSON.stringify({ kind: "List", items });
        return parseResources(asYaml ? `${list} # YAML\n` : list, { file: "f" });
      };
      for (const asYaml of [false, true]) {
        const edge = read(CONFIG_LIMITS.issues, 7, asYaml);
        assert.deepEqual([edge.issues.length, edge.resources.length], [CONFIG_LIMITS.issues, 7]);
        assert.ok(edge.issues.every(({ code }) => code !== "too_many_issues"));
        const beyond = read(CONFIG_LIMITS.issues + 1, 7, asYaml);
        assert.deepEqual([beyond.issues.length, beyond.resources.length], [CONFIG_LIMITS.issues + 1, 0]);
        const { message, more, unread } = beyond.issues.at(-1) as ConfigIssue;
        assert.deepEqual([more, unread], [1, 7]);
        assert.equal(message, "1 more issue is not listed, and 7 resources behind them were not read.");
        // What was not read may be what others refer to.
        assert.ok(beyond.refused.includes("* */*"));
        // One at a time or a million: as many are looked at.
        const far = read(CONFIG_LIMITS.issues + 5_000, 0, asYaml);
        assert.deepEqual([far.issues.at(-1)?.more, far.issues.at(-1)?.unread], [1, 4_999]);
        assert.deepEqual(far.issues.slice(0, -1), beyond.issues.slice(0, -1));
        assert.equal(orderIssues(far.issues, far.issues).at(-1)?.unread, 9_998);
      }
    }
  });

  test("the text around documents that cannot be read is looked through once", () => {
    const { refused, issues } = parseResources("kind: Route\nmetadata: { name: a }\nspec: [\n...\n".repeat(2_000), { file: "f" });
    assert.equal(refused.length, 1);
    assert.equal(issues.length, CONFIG_LIMITS.issues + 1);
  });

  test("limits hold at their edge", () => {
    const filler = (bytes: number) => `#${" ".repeat(bytes - 1)}`;
    assert.deepEqual(codes(filler(CONFIG_LIMITS.documentBytes)), []);
    assert.deepEqual(codes(filler(CONFIG_LIMITS.documentBytes + 1)), ["document_too_large"]);
    assert.deepEqual(codes("\n".repeat(CONFIG_LIMITS.yamlMarks)), []);
    assert.deepEqual(codes("\n".repeat(CONFIG_LIMITS.yamlMarks + 1)), ["document_too_large"]);
    const list = (count: number) => `kind: List\napiVersion: v1\nitems: [${"0,".repeat(count)}]\n`;
    assert.ok(!codes(list(CONFIG_LIMITS.resources)).includes("too_many_resources"));
    assert.ok(codes(list(CONFIG_LIMITS.resources + 1)).includes("too_many_resources"));
    assert.equal(codes(list(CONFIG_LIMITS.issues)).length, CONFIG_LIMITS.issues);
    assert.ok(!codes(list(CONFIG_LIMITS.issues)).includes("too_many_issues"));
    assert.equal(codes(list(CONFIG_LIMITS.issues + 1)).at(-1), "too_many_issues");
    assert.equal(codes(list(CONFIG_LIMITS.issues + 500)).length, CONFIG_LIMITS.issues + 1);
    const aliases = (count: number) => mesh(`{ trustedProxies: [&a 10.0.0.0/8, ${"*a, ".repeat(count)}] }`);
    assert.deepEqual(codes(aliases(CONFIG_LIMITS.yamlAliases)), []);
    assert.ok(codes(aliases(CONFIG_LIMITS.yamlAliases + 1)).includes("too_many_aliases"));
    const proxies = (count: number) => mesh(`{ trustedProxies: [${"10.0.0.0/8, ".repeat(count)}] }`);
    assert.deepEqual(codes(proxies(CONFIG_LIMITS.listItems)), []);
    assert.deepEqual(codes(proxies(CONFIG_LIMITS.listItems + 1)), ["out_of_range"]);
    const named = (chars: number) => mesh("{}").replace("name: m", `name: ${"m".repeat(chars)}`);
    assert.deepEqual(codes(named(CONFIG_LIMITS.nameChars)), []);
    assert.deepEqual(codes(named(CONFIG_LIMITS.nameChars + 1)), ["bad_name"]);
  });

  test("hostile nesting and cycles end as issues", () => {
    for (const text of [
      "[".repeat(200_000),
      "{a: ".repeat(50_000),
      `a: ${"- ".repeat(50_000)}x`,
      "a: &a [*a]\n",
      "&a {k: *a}\n",
      "*nope\n",
      "%YAML 9.9\n---\na: 1\n",
      "a: !!binary x\n",
      "? [1, 2]\n: 3\n",
      "\ufeffapiVersion: x\n",
      "\0",
      "a: \u0085\u2028b",
    ]) {
      const { issues } = parseResources(text, { file: "f" });
      assert.ok(issues.length > 0, JSON.stringify(text.slice(0, 30)));
    }
  });

  test("variables never read what the prototype has", () => {
    for (const name of ["constructor", "__proto__", "toString"]) {
      assert.deepEqual(codes(mesh(`{ accessLog: { path: "\${${name}}" } }`)), ["missing_variable"]);
    }
  });
});

describe("units", () => {
  test("what is formatted reads back", () => {
    for (const ms of [0, 1, 250, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000, 86_400_000]) {
      assert.equal(readDuration(formatDuration(ms)), ms);
    }
    for (const bytes of [0, 1, 512, 1_000, 1_024, 1_025, 65_536, 1_048_576, 1_073_741_824]) {
      assert.equal(readSize(formatSize(bytes)), bytes);
    }
  });
});

describe("suggestions", () => {
  test("near ones only", () => {
    assert.equal(editDistance("timout", "timeout"), 1);
    assert.equal(editDistance("hsots", "hosts"), 1);
    assert.equal(nearest("timout", ["timeout", "rewrite"]), "timeout");
    assert.equal(nearest("zzzzzz", ["timeout", "rewrite"]), undefined);
  });
});

describe("schema", () => {
  test("every field says what it means, and the JSON Schema is one of draft 2020-12 without loose ends", () => {
    const undescribed: string[] = [];
    const walk = (node: unknown, path: string): void => {
      if (typeof node !== "object" || node === null) return;
      for (const [key, value] of Object.entries(node)) {
        if (key === "properties") {
          for (const [name, field] of Object.entries(value as Record<string, { description?: string }>)) {
            if (field.description === undefined && !["apiVersion", "kind"].includes(name)) undescribed.push(`${path}.${name}`);
            walk(field, `${path}.${name}`);
          }
        } else {
          assert.notEqual(key, "$ref", path);
          if (key !== "default") walk(value, path);
        }
      }
    };
    for (const kind of KINDS) walk(jsonSchema(kind), kind);
    assert.deepEqual(undescribed, []);
    const all = jsonSchema();
    assert.equal(all.$schema, "https://json-schema.org/draft/2020-12/schema");
    assert.equal((all.oneOf as unknown[]).length, KINDS.length);
    const port = JSON.stringify(all).split('"port":')[1] ?? "";
    assert.ok(port.startsWith('{"description":') && port.includes('"anyOf":[{"type":"integer"'), port.slice(0, 200));
    assert.ok(!JSON.stringify(jsonSchema("Gateway", false)).includes("[A-Za-z_]"));
  });
});

describe("what a sidecar loads", () => {
  test("snapshot, sections and sources reach neither zod nor yaml nor the regex engine", () => {
    const banned = new Set(["zod", "yaml", "re2js", "@peculiar/x509", "hono"]);
    const queue = ["snapshot", "sections", "source", "issue", "source-memory", "source-nats", "canonical"].map((name) =>
      join(SRC, "config", `${name}.ts`),
    );
    const seen = new Set(queue);
    for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
      for (const [, name = ""] of readFileSync(file, "utf8").matchAll(/^(?:import|export) (?!type )[^;]*?from "([^"]+)";/gms)) {
        assert.ok(!banned.has(name), `${file} imports ${name}`);
        const target = normalize(join(dirname(file), name));
        if (name.startsWith(".") && !seen.has(target)) {
          seen.add(target);
          queue.push(target);
        }
      }
    }
    assert.ok(seen.size > 8);
    assert.ok(readdirSync(join(SRC, "config")).length > 10);
  });
});

/** Class 57: what means something to some language, in every field. */
const METACHARACTERS = [
  "\r\nx-evil: 1",
  "\0",
  "$(id)",
  "`id`",
  "'; --",
  "../../etc/passwd",
  "{{7*7}}",
  "%0d%0a",
  "<script>",
  "a b",
  "*",
  "{",
  '"',
  "\\",
  "a".repeat(9_000),
  "\u2028",
  "\ud800",
  "",
];

/** Fields whose text goes nowhere but into a body, a comparison or a message of ours: anything may stand there. */
const FREE_TEXT = /\.(body|settings|issuer|audiences\.\d+|prefix|fromQuery\.\d+|query\.\d+\.(name|value)|jwks)$/;

describe("metacharacters in every field", () => {
  test("are refused, or stay inside their value", () => {
    const { resources } = parseResources(WHOLE_CONFIG, { file: "f" });
    const items = resources.map((each) => each.written);
    let tried = 0;
    let accepted = 0;
    for (const place of stringPlaces(items)) {
      for (const evil of METACHARACTERS) {
        const copy = JSON.parse(JSON.stringify(items));
        setAt(copy, place, evil);
        const { snapshot, all } = compileText(
          JSON.stringify({ apiVersion: "v1", kind: "List", items: copy }).replaceAll("$", "$$$$"),
        );
        tried++;
        assert.equal(snapshot === undefined || all.length > 0, all.length > 0, place.join("."));
        if (all.length > 0 || snapshot === undefined) continue;
        accepted++;
        assert.deepEqual(
          [snapshot.listeners.length, snapshot.routes.length, snapshot.services.length, snapshot.filters.length],
          [2, 1, 2, 2],
        );
        for (const [path, text] of strings(snapshot, "")) {
          if (/[\0\r\n]/.test(text) && !/Pem$/.test(path)) assert.match(path, FREE_TEXT);
        }
      }
    }
    assert.ok(tried > 1_500 && accepted > 100, `${tried} tried, ${accepted} accepted`);
  });
});

function* stringPlaces(value: unknown, path: (string | number)[] = []): Generator<(string | number)[]> {
  if (typeof value === "string") yield path;
  if (typeof value !== "object" || value === null) return;
  for (const [key, each] of Object.entries(value)) yield* stringPlaces(each, [...path, Array.isArray(value) ? Number(key) : key]);
}

function setAt(value: Record<string | number, unknown>, path: (string | number)[], to: string): void {
  const [first, ...rest] = path;
  if (first === undefined) return;
  if (rest.length === 0) value[first] = to;
  else setAt(value[first] as Record<string | number, unknown>, rest, to);
}

function* strings(value: unknown, path: string): Generator<[string, string]> {
  if (typeof value === "string") yield [path, value];
  if (typeof value !== "object" || value === null) return;
  for (const [key, each] of Object.entries(value)) yield* strings(each, `${path}.${key}`);
}

describe("a typing error of a name", () => {
  test("is told alone, without what comes of it; another mistake beside it is still told", () => {
    const codesOf = (rule: string): string[] => {
      const spec = `spec: { rules: [${rule}] }`;
      const text = `apiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: a }\n${spec}\n`;
      return parseResources(text, { file: "a.yaml" }).issues.map(({ code }) => code);
    };
    assert.deepEqual(codesOf("{ respnd: { status: 200 } }"), ["unknown_key"]);
    assert.deepEqual(codesOf("{ backends: [{ servce: a }] }"), ["unknown_key"]);
    assert.deepEqual(codesOf("{ mathces: [] }").sort(), ["choose_one", "unknown_key"]);
  });
});

describe("a stream of documents with a mistake", () => {
  const route = (name: string, spec = "{ rules: [{ respond: { status: 200 } }] }"): string =>
    `---\napiVersion: selvedge.dev/v1\nkind: Route\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
  const read = (text: string) => {
    const { resources, issues } = parseResources(text, { file: "a.yaml" });
    return [resources.map(({ resource }) => resource.metadata.name), issues.map(({ code, line }) => `${code} ${line}`)];
  };

  test("loses the document with the mistake alone, wherever it stands, and is told the place in the whole text", () => {
    const bad = route("bad", "{ rules: [ }");
    assert.deepEqual(read(route("a") + route("b") + bad), [["a", "b"], ["yaml_syntax 15"]]);
    assert.deepEqual(read(route("a") + bad + route("b") + bad), [
      ["a", "b"],
      ["yaml_syntax 10", "yaml_syntax 20"],
    ]);
    assert.deepEqual(read(bad + route("a")), [["a"], ["yaml_syntax 5"]]);
    assert.deepEqual(read(`${route("a")}...\n${bad}# end\n${route("b")}`), [["a", "b"], ["yaml_syntax 11"]]);
    assert.deepEqual(read(`${route("a")}...\n${route("c").slice(4)}${bad}`), [["a", "c"], ["yaml_syntax 15"]]);
  });

  test("and a directive before the mistake that nobody knows is told as it is without one", () => {
    assert.deepEqual(read(`%NONE 1\n${route("a")}`), [["a"], ["yaml_unsupported 1"]]);
    assert.deepEqual(read(`%NONE 1\n${route("a")}${route("bad", "[")}`)[1], ["yaml_unsupported 1", "yaml_syntax 12"]);
  });
});
