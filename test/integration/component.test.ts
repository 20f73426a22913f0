// The real program with a component filter from a file: validated, served, refused when it is not granted what it imports.
import { afterAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ACTOR } from "../kit/component.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, runSelvedge, startSelvedge } from "../kit/selvedge.ts";

const folder = newFolder();
afterAll(() => folder.remove());
writeFileSync(join(folder.path, "actor.wasm"), ACTOR);

function writeConfig(name: string, port: number, capabilities: string): string {
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
metadata: { name: actor }
spec:
  module: { file: actor.wasm }
  settings: { script: "request-head: respond 418 teapot x-by=component" }
  capabilities: ${capabilities}
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec:
  gateways: [edge]
  rules: [{ filters: [actor], backends: [{ service: callee }] }]
`,
  );
  return file;
}

test(
  "a gateway answers by a component",
  async () => {
    const port = await freePort();
    const file = writeConfig("good.yaml", port, "{ callouts: [callee], random: true, nats: { publish: [test.actor] } }");
    const running = startSelvedge(["proxy", "-f", file, "--workers", "1", "--admin", "127.0.0.1:0"]);
    try {
      await running.saw("admin  http");
      const answer = await fetch(`http://127.0.0.1:${port}/`);
      expect([answer.status, answer.headers.get("x-by"), await answer.text()]).toEqual([418, "component", "teapot"]);
    } finally {
      running.child.kill("SIGTERM");
      await running.finished;
    }
  },
  TEST_MS,
);

test(
  "what a component imports but was not granted is an issue at its place",
  async () => {
    const { code, out, error } = await runSelvedge([
      "validate",
      "-f",
      writeConfig("bad.yaml", 1, "{ random: true, nats: { publish: [test.actor] } }"),
    ]);
    expect(code).not.toBe(0);
    expect(out + error).toContain("selvedge:filter/call-out@0.1.0: grant it by capabilities.callouts");
  },
  TEST_MS,
);
