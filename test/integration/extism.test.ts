// The real program with a plug-in of Extism from a file: known by its imports, served, refused in its own words.
import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PDK_ACTOR } from "../kit/extism.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, runSelvedge, startSelvedge } from "../kit/selvedge.ts";

const folder = newFolder();
afterAll(() => folder.remove());
writeFileSync(join(folder.path, "plugin.wasm"), PDK_ACTOR);

function writeConfig(name: string, port: number, settings: string): string {
  const file = join(folder.path, name);
  writeFileSync(
    file,
    `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec:
  listeners: [{ name: http, address: 127.0.0.1, port: ${port} }]
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: callee }
spec: { endpoints: ["127.0.0.1:9"] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: plugin }
spec:
  module: { file: plugin.wasm }
  settings: ${settings}
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec:
  gateways: [edge]
  rules: [{ filters: [plugin], backends: [{ service: callee }] }]
`,
  );
  return file;
}

test(
  "a gateway answers by a plug-in",
  async () => {
    const port = await freePort();
    const file = writeConfig("good.yaml", port, "{ deny: /deny }");
    const running = startSelvedge(["proxy", "-f", file, "--workers", "1", "--admin", "127.0.0.1:0"]);
    try {
      await running.saw("admin  http");
      const answer = await fetch(`http://127.0.0.1:${port}/deny`);
      expect([answer.status, answer.headers.get("x-by"), await answer.text()]).toEqual([403, "extism", "denied"]);
    } finally {
      running.child.kill("SIGTERM");
      await running.finished;
    }
  },
  TEST_MS,
);

test(
  "settings that a plug-in refuses are an issue in its words",
  async () => {
    const { code, out, error } = await runSelvedge(["validate", "-f", writeConfig("bad.yaml", 1, "{ refuse: yes }")]);
    expect(code).not.toBe(0);
    expect(out + error).toContain("these settings are not for me");
  },
  TEST_MS,
);
