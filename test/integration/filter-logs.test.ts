/** `selvedge filter logs` against a gateway of two workers, by its admin address and through the control plane of `up`. */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXIT } from "../../src/cli/command.ts";
import { buildPlugin } from "../kit/extism.ts";
import { TEST_MS } from "../kit/patience.ts";
import { freePort, newFolder, type RunningProgram, runSelvedge, startSelvedge, until } from "../kit/selvedge.ts";

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function start(args: readonly string[]): RunningProgram {
  const program = startSelvedge(args);
  cleanups.push(async () => {
    program.child.kill("SIGKILL");
    await program.finished;
  });
  return program;
}

/** What a guest may say to a terminal: red, over what stands there, another line, from right to left. */
const EVIL = "\u009b1m\u001b[31m\u001b[2Jred\n2026-01-01T00:00:00Z forged\u202e";
const SHOWN = "\\u009b1m\\u001b[31m\\u001b[2Jred\\n2026-01-01T00:00:00Z forged\\u202e";

function configIn(folder: string, port: number): string {
  const config = join(folder, "config.yaml");
  writeFileSync(
    join(folder, "speaker.wasm"),
    buildPlugin({ text: EVIL, exports: { on_request: "$text $log_warn i32.const 0" } }),
  );
  writeFileSync(
    config,
    `apiVersion: selvedge.dev/v1
kind: Gateway
metadata: { name: edge }
spec: { listeners: [{ name: http, port: ${port}, address: 127.0.0.1 }] }
---
apiVersion: selvedge.dev/v1
kind: Filter
metadata: { name: speaker }
spec: { module: { file: speaker.wasm } }
---
apiVersion: selvedge.dev/v1
kind: Route
metadata: { name: all }
spec: { rules: [{ filters: [speaker], respond: { body: ok } }] }
`,
  );
  return config;
}

/** A connection each, so that both workers are asked; the ids of the requests. */
async function ask(port: number, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: "close" } });
    await response.text();
    ids.push(response.headers.get("x-request-id") ?? "");
  }
  return ids;
}

test(
  "lines of both workers with their requests, escaped; what is wrong is named; following ends with Ctrl-C and with the proxy",
  async () => {
    const folder = newFolder();
    cleanups.push(folder.remove);
    const [port, admin] = [await freePort(), `127.0.0.1:${await freePort()}`];
    const proxy = start(["proxy", "-f", configIn(folder.path, port), "--id", "edge-1", "--workers", "2", "--admin", admin]);
    await proxy.saw("selvedge proxy");
    const one = ["--admin-url", `http://${admin}`];
    const logs = (...args: readonly string[]) => runSelvedge(["filter", "logs", "speaker", ...one, ...args]);

    const empty = await logs();
    expect([empty.code, empty.out]).toEqual([EXIT.ok, ""]);
    expect(empty.error).toStartWith("· no lines of default/speaker: it has said nothing yet");
    const ids = await ask(port, 20);
    const json = await logs("--json");
    expect(json.out).not.toMatch(/(?!\n)\p{Cc}|\u202e/u);
    const lines = json.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.map(({ requestId }) => requestId).sort()).toEqual([...ids].sort());
    for (const line of lines)
      expect(line).toMatchObject({ proxy: "edge-1", filter: "default/speaker", level: "warn", message: EVIL });
    const last = await logs("--tail", "1", "--level", "warn", "--since", "10m");
    expect(last.out).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z edge-1\/[01] default\/speaker warn [\w-]+ /);
    expect(last.out.endsWith(` ${SHOWN}\n`)).toBe(true);
    const none = [await logs("--level", "error"), await logs("--since", "2100-01-01")];
    expect(none.map(({ out, error }) => [out, error])).toEqual([
      ["", "· no lines of default/speaker that --level would show\n"],
      ["", "· no lines of default/speaker that --since would show\n"],
    ]);

    const unknown = await runSelvedge(["filter", "logs", "nobody", ...one]);
    expect([unknown.code, unknown.error.includes("no filter default/nobody")]).toEqual([EXIT.notFound, true]);
    expect((await logs("--since", "soon")).code).toBe(EXIT.usage);
    expect((await logs("--proxy", "edge-1")).code).toBe(EXIT.usage);

    const [stopped, left] = [
      start(["filter", "logs", "speaker", "-f", "--tail", "0", ...one]),
      start(["filter", "logs", "speaker", "-f", ...one]),
    ];
    await left.saw(ids.at(-1) ?? "");
    // A round of its own, so that what comes now is new to both.
    await until(async () => {
      const [id = ""] = await ask(port, 1);
      await left.saw(id);
      return stopped.out() !== "";
    });
    expect(stopped.out()).not.toContain(ids[0] ?? "");
    stopped.child.kill("SIGINT");
    expect(await stopped.finished).toMatchObject({ code: EXIT.ok, error: "" });
    proxy.child.kill("SIGKILL");
    const gone = await left.finished;
    expect([gone.code, gone.error]).toEqual([EXIT.unreachable, "· edge-1 is gone\n"]);
    const shown = gone.out.trim().split("\n");
    expect(new Set(shown).size).toBe(shown.length);
  },
  TEST_MS,
);
