import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EXIT } from "../cli/command.ts";
import { runCommandLine } from "../cli/run.ts";
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

async function validate(files: Record<string, string>, ...flags: string[]) {
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
    const exit = await runCommandLine(["validate", "-f", folder, ...flags], terminal, LAUNCHERS);
    return { exit, out: out.replaceAll(folder, "."), error: error.replaceAll(folder, ".") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

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
