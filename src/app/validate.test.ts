import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildPlugin } from "../../test/kit/extism.ts";
import { EXIT } from "../cli/command.ts";
import { runCommandLine } from "../cli/run.ts";
import { METADATA_SECTION } from "../config/module-summary.ts";
import { appendCustomSection } from "../config/wasm-sections.ts";
import { LAUNCHERS } from "./launchers.ts";

const FILTER = (limit: string) => `apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: limit }
spec:
  module: { builtin: rate-limit }
  settings:
    limits:
      - name: per-caller
        ${limit}
`;
const BROKEN_SERVICE =
  "apiVersion: selvedge.dev/v1\nkind: Service\nmetadata: { name: shop }\nspec: { endpoints: ['127.0.0.1:1'], nonsense: 1 }\n";
const ROUTES = `apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: shop }
spec:
  rules:
    - backends: [{ service: shop }, { service: gone }]
`;

const validate = (files: Record<string, string | Uint8Array>, ...flags: string[]) =>
  runIn(files, (folder) => ["validate", "-f", folder, ...flags]);

async function runIn(files: Record<string, string | Uint8Array>, argv: (folder: string) => readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), "selvedge-validate-"));
  let [out, error] = ["", ""];
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const terminal = {
      out: (text: string) => {
        out += text;
      },
      error: (text: string) => {
        error += text;
      },
      ...{ env: {}, isTty: false, cwd: folder, readStdin: async () => "" },
    };
    const exit = await runCommandLine(argv(folder), terminal, LAUNCHERS);
    return { exit, out: out.replaceAll(folder, "."), error: error.replaceAll(folder, ".") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test("a file without resources is said to have none, beside others that have some", async () => {
  const { exit, error } = await validate({
    "a.yaml": "# nothing yet\n",
    "b.yaml": FILTER("requests: 5\n        per: minute\n        key: [clientIp]"),
  });
  expect([exit, error]).toEqual([EXIT.ok, expect.stringMatching(/^! \S+a\.yaml has no resources\n$/)]);
});

test("filters are loaded with their settings; what they refuse has its place", async () => {
  const good = await validate({ "a.yaml": FILTER("requests: 5\n        per: minute\n        key: [clientIp]") });
  expect([good.exit, good.error]).toEqual([EXIT.ok, ""]);
  const bad = await validate({ "a.yaml": FILTER("requests: 5\n        per: fortnight\n        key: [moon]") });
  expect(bad.exit).toBe(EXIT.failed);
  expect(bad.error).toContain("./a.yaml:10:14");
  expect(bad.error).toContain("./a.yaml:11:15");
  const json = await validate({ "a.yaml": FILTER("requests: 5\n        per: fortnight\n        key: [clientIp]") }, "--json");
  expect(json.exit).toBe(EXIT.failed);
  expect(JSON.parse(json.out)).toMatchObject({
    ok: false,
    issues: [{ code: "bad_settings", resource: "Filter default/limit", file: "./a.yaml", line: 10, column: 14 }],
  });
});

test("issues of the text and of the whole come together, and what has issues of its own is not called missing", async () => {
  const { exit, out } = await validate({ "a.yaml": BROKEN_SERVICE, "b.yaml": ROUTES }, "--json");
  expect(exit).toBe(EXIT.failed);
  const issues = (JSON.parse(out) as { issues: { code: string; file: string; line: number; message: string }[] }).issues;
  expect(issues.map(({ code, file, line }) => `${code} ${file}:${line}`)).toEqual([
    "unknown_key ./a.yaml:4",
    "dangling_reference ./b.yaml:6",
  ]);
  expect(issues[1]?.message).toContain("default/gone");
});

test("every mistake at once, whatever its kind: of one field, of references, of a filter's settings", async () => {
  const files = {
    "a.yaml": BROKEN_SERVICE,
    "b.yaml": ROUTES,
    "c.yaml": FILTER("requests: 5\n        per: fortnight\n        key: [clientIp]"),
  };
  const { out } = await validate(files, "--json");
  const codes = (JSON.parse(out).issues as { code: string }[]).map(({ code }) => code);
  expect(codes).toEqual(["unknown_key", "dangling_reference", "bad_settings"]);
  // Whose modules may run is not known while the Mesh is refused.
  const mesh = "apiVersion: selvedge.dev/v1\nkind: Mesh\nmetadata: { name: mesh }\nspec: { nonsense: 1 }\n";
  const refused = await validate({ ...files, "d.yaml": mesh }, "--json");
  expect(refused.out).not.toContain("bad_settings");
});

test("what is in the mesh only is unknown here: the hint says who knows it, and near names are told as well", async () => {
  const digest = `sha256:${"0".repeat(64)}`;
  const files = {
    "a.yaml": `apiVersion: selvedge.dev/v1\nkind: Filter\nmetadata: { name: f }\nspec: { module: { digest: "${digest}" } }\n`,
    "b.yaml": ROUTES,
  };
  const hintsOf = (out: string) => (JSON.parse(out).issues as { code: string; hint: string }[]).map((each) => each.hint);
  const asked = "only these files were looked at: `selvedge diff -f` asks the control plane, which has all that is stored";
  expect(hintsOf((await validate(files, "--json")).out)).toEqual([asked, asked, asked]);
  const near = BROKEN_SERVICE.replace(", nonsense: 1", "").replace("name: shop", "name: shops");
  const hints = hintsOf((await validate({ ...files, "c.yaml": near }, "--json")).out);
  expect(hints.slice(1)).toEqual([`did you mean shops?; ${asked}`, `known: shops; ${asked}`]);
});

const NEEDY = appendCustomSection(
  buildPlugin({ exports: { on_request: "i32.const 0" } }),
  METADATA_SECTION,
  Buffer.from(JSON.stringify({ name: "needy", capabilities: { random: true, headers: { request: { read: ["cookie"] } } } })),
);
const NEEDY_FILTER = (capabilities: string) => `apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: needy }
spec:
  module: { file: needy.wasm }
  capabilities: ${capabilities}
`;

test("what a module declares that it needs and its resource does not grant is a warning, with place and what to write", async () => {
  const files = { "a.yaml": NEEDY_FILTER("{ headers: { request: { read: [accept] } } }"), "needy.wasm": NEEDY };
  const warned = await validate(files);
  expect([warned.exit, warned.out]).toEqual([EXIT.ok, "✓ 1 resource is valid\n"]);
  const lines = warned.error.trim().split("\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(
    /^! \.\/a\.yaml:6:\d+ capability_not_granted Filter default\/needy spec\.capabilities\.random: needy\.wasm declares .*random: true/,
  );
  expect(lines[1]).toMatch(
    /^! \.\/a\.yaml:6:\d+ .*spec\.capabilities\.headers\.request\.read: .*headers\.request\.read: \[accept, cookie\]/,
  );
  expect(JSON.parse((await validate(files, "--json")).out).warnings).toHaveLength(2);

  const inspect = (folder: string) => ["filter", "inspect", join(folder, "needy.wasm"), "-f", folder];
  const inspected = await runIn(files, inspect);
  expect(inspected.out).toContain('  random: true\n  headers.request.read: ["*", cookie]\n');
  expect(inspected.error.trim().split("\n")).toEqual(lines);
  const alone = await runIn(files, (folder) => inspect(folder).slice(0, 3));
  expect([alone.exit, alone.error, alone.out.includes("  random: true\n")]).toEqual([EXIT.ok, "", true]);

  const granted = { ...files, "a.yaml": NEEDY_FILTER('{ random: true, headers: { request: { read: ["*", cookie] } } }') };
  expect(await validate(granted)).toMatchObject({ exit: EXIT.ok, error: "" });
  const whole = await runIn(granted, inspect);
  expect([whole.error, whole.out.endsWith("✓ default/needy: all that it declares is granted\n")]).toEqual(["", true]);
});
