/** A gateway of two workers under load while filters are changed, switched off and on, and a module of 25 MB is loaded: no request fails. */
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { enlargeModule } from "../kit/large-module.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, startSelvedge, until } from "../kit/selvedge.ts";

const TRANSFORM = new Uint8Array(readFileSync(new URL("../../dist/filters/transform.wasm", import.meta.url)));

interface Status {
  readonly appliedRevision: number;
  readonly workers: readonly {
    readonly dataPlane: { readonly filters: readonly { readonly name: string; readonly state: string }[] };
  }[];
}

const configOf = (port: number, module: string, value: string, more = ""): string => `
apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ name: http, port: ${port}, protocol: HTTP }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: mark }
spec:
  module: ${module}
  settings: { response: { headers: [{ op: set, name: x-mark, value: "${value}" }] } }
  ${more}
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec:
  rules:
    - { matches: [{ path: { prefix: /plain } }], respond: { body: "plain" } }
    - { matches: [{ path: { prefix: / } }], filters: [mark], respond: { body: "marked" } }
`;

describe("a gateway whose filters change under load", () => {
  test(
    "no request fails: other settings, 25 MB more of module, off and on in all workers",
    async () => {
      const folder = newFolder();
      const [port, admin] = [await freePort(), await freePort()];
      const config = join(folder.path, "config.yaml");
      writeFileSync(join(folder.path, "large.wasm"), enlargeModule(TRANSFORM, 25_000_000));
      writeFileSync(config, configOf(port, "{ builtin: transform }", "one"));
      const proxy = startSelvedge([
        "proxy",
        "-f",
        config,
        "--workers",
        "2",
        "--admin",
        `127.0.0.1:${admin}`,
        "--cache-dir",
        join(folder.path, "cache"),
      ]);
      const base = `http://127.0.0.1:${port}`;
      const status = async (): Promise<Status> => (await (await fetch(`http://127.0.0.1:${admin}/status`)).json()) as Status;
      const states = async (): Promise<string[]> =>
        (await status()).workers.flatMap(({ dataPlane }) => dataPlane.filters.map(({ state }) => state));
      /** Writes a configuration and waits until all workers serve it. */
      const serve = async (module: string, value: string, more = ""): Promise<void> => {
        const { appliedRevision } = await status();
        writeFileSync(config, configOf(port, module, value, more));
        await until(async () => (await status()).appliedRevision > appliedRevision);
      };
      const control = async (action: string): Promise<number> =>
        (await fetch(`http://127.0.0.1:${admin}/filters/default/mark/${action}`, { method: "POST" })).status;
      const told = async (kind: string): Promise<object[]> => {
        const { events } = (await (await fetch(`http://127.0.0.1:${admin}/events`)).json()) as {
          events: { kind: string; count: number; reason: string }[];
        };
        return events.filter((each) => each.kind === kind).map(({ count, reason }) => ({ count, reason }));
      };
      const ask = async (path: string): Promise<string> => {
        // A connection each, so that both workers answer.
        const response = await fetch(base + path, { headers: { connection: "close" } });
        await response.text();
        return `${response.status} ${response.headers.get("x-mark") ?? ""}`;
      };
      try {
        await proxy.saw("selvedge proxy");
        expect(await ask("/")).toBe("200 one");
        const seen = new Map<string, number>();
        let isOver = false;
        const load = Array.from({ length: 4 }, async (_, i) => {
          while (!isOver) {
            const said = i % 2 === 0 ? await ask("/") : `plain ${await ask("/plain")}`;
            seen.set(said, (seen.get(said) ?? 0) + 1);
          }
        });
        for (const value of ["two", "three"]) {
          await serve("{ builtin: transform }", value);
          await until(() => seen.has(`200 ${value}`));
        }
        const before = seen.get("plain 200 ") ?? 0;
        await serve("{ file: large.wasm }", "large");
        await until(() => seen.has("200 large"));
        // Others were answered while it was prepared.
        expect((seen.get("plain 200 ") ?? 0) - before).toBeGreaterThan(20);
        isOver = true;
        await Promise.all(load);
        expect([...seen.keys()].sort()).toEqual(["200 large", "200 one", "200 three", "200 two", "plain 200 "]);

        expect(await control("disable")).toBe(200);
        await until(async () => (await states()).every((state) => state === "disabled"));
        // Three generations have a filter of that name now; each of the two processes says it once.
        expect(await told("filter_disabled")).toEqual(Array(2).fill({ count: 1, reason: "by hand" }));
        for (let i = 0; i < 8; i++) expect(await ask("/")).toBe("503 ");
        expect(await ask("/plain")).toBe("200 ");
        // A filter of that name stays off, whatever comes.
        await serve("{ builtin: transform }", "four", "onFailure: open");
        for (let i = 0; i < 8; i++) expect(await ask("/")).toBe("200 ");
        expect(await control("enable")).toBe(200);
        await until(async () => (await states()).every((state) => state === "running"));
        for (let i = 0; i < 8; i++) expect(await ask("/")).toBe("200 four");
        await serve("{ builtin: transform }", "four", "disabled: true");
        for (let i = 0; i < 8; i++) expect(await ask("/")).toBe("503 ");
        const off = (await status()).appliedRevision;
        expect(await told("filter_disabled")).toEqual(Array(2).fill({ count: 2, reason: `by configuration, revision ${off}` }));
        expect(await told("filter_enabled")).toEqual(Array(2).fill({ count: 1, reason: "by hand" }));
        await serve("{ builtin: transform }", "four");
        const on = (await status()).appliedRevision;
        expect(await told("filter_enabled")).toEqual(Array(2).fill({ count: 2, reason: `by configuration, revision ${on}` }));
      } finally {
        proxy.child.kill("SIGKILL");
        await proxy.finished;
        folder.remove();
      }
    },
    TEST_MS,
  );
});
