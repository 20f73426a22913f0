// Spans from the real program with two workers: switched on while it runs, and what waits when it stops is sent.
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { otlpSpans, startCollector } from "../kit/collector.ts";
import { CLOSE } from "../kit/end-to-end.ts";
import { parseExposition } from "../kit/exposition.ts";
import { TEST_MS } from "../kit/patience.ts";
import { okText, sayRaw, startUpstream } from "../kit/raw.ts";
import { freePort, newFolder, startSelvedge, until } from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

test(
  "each worker sends its spans, from the reload that asks for it to the end of the program",
  async () => {
    const collector = await startCollector();
    const upstream = await startUpstream(() => okText("ok"));
    const [folder, port, adminPort] = [newFolder(), await freePort(), await freePort()];
    cleanups.push(
      folder.remove,
      () => upstream.stop(),
      () => collector.stop(),
    );
    const file = join(folder.path, "gateway.yaml");
    const write = (tracing: string): void => {
      writeFileSync(
        file,
        `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: main }
spec: { listeners: [{ port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ backends: [up] }] }
---
apiVersion: selvedge.dev/v1
kind: Service
metadata: { name: up }
spec: { endpoints: ["127.0.0.1:${upstream.port}"] }
---
apiVersion: selvedge.dev/v1
kind: Mesh
metadata: { name: mesh }
spec: { tracing: { start: true${tracing} }, accessLog: { enabled: false } }
`,
      );
    };
    write("");
    const program = startSelvedge(["proxy", "-f", file, "--workers", "2", "--admin", `127.0.0.1:${adminPort}`, "--id", "edge-1"]);
    cleanups.push(async () => {
      program.child.kill("SIGKILL");
      await program.finished;
    });
    await program.saw("selvedge proxy");
    const ask = async (path: string): Promise<string> =>
      (await sayRaw(port, `GET ${path} HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`)).slice(0, 12);
    const revisions = async (): Promise<readonly number[]> => {
      const status = (await (await fetch(`http://127.0.0.1:${adminPort}/status`)).json()) as {
        workers: readonly { readonly revision: number }[];
      };
      return status.workers.map(({ revision }) => revision);
    };
    expect(await ask("/before")).toBe("HTTP/1.1 200");
    const before = Math.max(...(await revisions()));
    write(`, export: { url: "${collector.url}", serviceName: edge }`);
    await until(async () => (await revisions()).every((revision) => revision > before));

    const paths = Array.from({ length: 8 }, (_, i) => `/on/${i}`);
    for (const path of paths) expect(await ask(path)).toBe("HTTP/1.1 200");
    const sent = async (): Promise<number | undefined> => {
      const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
      const samples = parseExposition(text).get("selvedge_trace_spans_total")?.samples;
      return samples?.find(({ labels }) => labels.result === "sent")?.value;
    };
    await until(async () => (await sent()) === paths.length);
    expect(await ask("/last")).toBe("HTTP/1.1 200");
    program.child.kill("SIGTERM");
    expect((await program.finished).code).toBe(0);

    const spans = otlpSpans(collector.deliveries.map(({ json }) => json));
    expect(spans.map(({ values }) => values["url.path"]).sort()).toEqual(["/last", ...paths]);
    expect(new Set(spans.map(({ traceId }) => traceId)).size).toBe(paths.length + 1);
    expect(spans.every(({ resource }) => resource["service.instance.id"] === "edge-1")).toBe(true);
    expect(spans.every((span) => span.parentSpanId === undefined)).toBe(true);
  },
  TEST_MS,
);
