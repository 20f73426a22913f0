/** The real program with few file descriptors (`ulimit -n`), and more callers than it can have. */
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { connectRaw, okText, type RawConnection, sayRaw, startUpstream } from "../kit/raw.ts";
import { freePort, newFolder, startProgram } from "../kit/selvedge.ts";
import { describe, IS_BUN, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const MAIN = fileURLToPath(new URL("../../src/app/main.ts", import.meta.url));
const LIMIT = 160;
/** A quarter stays free, half of the rest is for downstreams. */
const DOWNSTREAMS = 60;
const CALLERS = 300;
const GET = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

const isReset = (error: Error): void => assert.match(error.message, /ECONNRE(SET|FUSED)/);

describe("a process with few file descriptors", () => {
  test("refuses callers before it runs out, says so, serves those that are in, and everybody afterwards", async () => {
    const folder = newFolder();
    const upstream = await startUpstream(() => okText("fine"));
    const [port, admin] = [await freePort(), await freePort()];
    const file = join(folder.path, "gateway.yaml");
    const of = (kind: string, spec: unknown) =>
      JSON.stringify({ apiVersion: "selvedge.dev/v1", kind, metadata: { name: "x" }, spec });
    writeFileSync(
      file,
      [
        of("Gateway", { listeners: [{ address: "127.0.0.1", port, name: "edge", limits: { connections: 1_000 } }] }),
        of("Route", { rules: [{ backends: ["x"] }] }),
        of("Service", { endpoints: [`127.0.0.1:${upstream.port}`] }),
        of("Mesh", { accessLog: { enabled: false } }),
      ].join("\n---\n"),
    );
    const runtime = IS_BUN ? [] : ["run", "-A", "--no-lock"];
    const args = ["proxy", "--mode", "sidecar", "-f", file, "--admin", `127.0.0.1:${admin}`, "--log-level", "warn"];
    const limited = ["-c", `ulimit -n ${LIMIT}; exec "$@"`, "sh", process.execPath, ...runtime, MAIN, ...args];
    const program = startProgram("/bin/sh", limited, { env: { ...process.env, NO_COLOR: "1" } });
    const callers: RawConnection[] = [];
    try {
      await program.saw("edge");
      assert.match(program.error(), /limits\.connections is more than the file descriptors/);
      assert.match(program.error(), new RegExp(`"allowed":${DOWNSTREAMS},"descriptors":${LIMIT}`));
      // One that was there before.
      const early = await connectRaw(port);
      early.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      await early.until("fine");
      // A refusal may come while it is still connecting.
      for (let i = 0; i < CALLERS; i++) await connectRaw(port).then((each) => callers.push(each), isReset);
      const left = (): number => callers.filter((each) => !each.isClosed).length;
      await until(() => left() < DOWNSTREAMS);
      const descriptors = readdirSync(`/proc/${program.child.pid}/fd`).length;
      assert.ok(descriptors < LIMIT - 10, `${descriptors} of ${LIMIT} descriptors`);
      early.send(GET);
      assert.equal((await early.closed()).match(/fine/g)?.length, 2);
      const metrics = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
      const refused = /selvedge_connection_failures_total\{[^}]*code="overloaded"[^}]*\} (\d+)/.exec(metrics)?.[1];
      // On Deno a listener that is about to run out does not accept for a while: then the kernel refuses some.
      if (IS_BUN) assert.equal(Number(refused), CALLERS - (DOWNSTREAMS - 1));
      else assert.ok(Number(refused) > 0);
      for (const each of callers) each.destroy();
      await until(async () => (await sayRaw(port, GET)).endsWith("fine"));
    } finally {
      for (const each of callers) each.destroy();
      program.child.kill("SIGKILL");
      await program.finished;
      await upstream.stop();
      folder.remove();
    }
  });
});
