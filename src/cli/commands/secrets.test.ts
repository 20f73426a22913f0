// What people see of a configuration has no secrets, unless they ask: `get`, `diff`, `history`.
import { expect, test } from "bun:test";
import { join } from "node:path";
import { testAuthority } from "../../../test/kit/certs.ts";
import { inFolder, runInFolder } from "../../../test/kit/command-line.ts";
import { builtinModules } from "../../config/modules.ts";
import { createControlApi } from "../../control/api/app.ts";
import { createControlPlane } from "../../control/create.ts";
import { SystemClock } from "../../core/clock.ts";
import { SILENT_LOG } from "../../core/log.ts";
import { SeededRng } from "../../core/rng.ts";

test("get, diff and history show no private key, unless --show-secrets; that it changes is shown", async () => {
  const authority = await testAuthority();
  const gateway = async (name: string): Promise<{ text: string; key: string }> => {
    const { certificatePem, keyPem } = await authority.issue({ dns: [name] });
    const tls = { certificates: [{ certificate: { inline: certificatePem }, key: { inline: keyPem } }] };
    const spec = { listeners: [{ port: 443, protocol: "HTTPS", tls }] };
    const text = JSON.stringify({ apiVersion: "selvedge.dev/v1", kind: "Gateway", metadata: { name: "edge" }, spec });
    return { text, key: keyPem.split("\n")[2] ?? "" };
  };
  const [former, next] = [await gateway("a.test"), await gateway("b.test")];
  const plane = createControlPlane({
    ...{ backend: { kind: "memory" }, modules: builtinModules(new Map()), version: "t" },
    ...{ clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
  });
  await plane.start();
  const api = createControlApi({ plane, version: "t", guard: () => undefined, log: SILENT_LOG, metrics: async () => "" });
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => api.fetch(request) });
  try {
    expect(await plane.apply({ text: former.text, author: "t", origin: "api" })).toMatchObject({ ok: true });
    await inFolder({ "next.json": next.text }, async (folder) => {
      const file = join(folder, "next.json");
      const run = async (...argv: string[]): Promise<string> => {
        const { exit, out, error } = await runInFolder(folder, [...argv, "--server", `http://127.0.0.1:${server.port}`]);
        expect([argv, exit, error]).toEqual([argv, 0, ""]);
        return out;
      };
      const commands = [
        ["get", "Gateway/edge"],
        ["diff", "-f", file],
        ["diff", "-f", file, "--json"],
        ["history", "--json"],
      ];
      for (const argv of commands) {
        const shown = await run(...argv);
        expect(shown).toContain("[redacted");
        expect(shown).not.toContain(former.key);
        expect(shown).not.toContain(next.key);
        expect(await run(...argv, "--show-secrets")).toContain(former.key);
      }
      expect(await run("diff", "-f", file)).toContain("[redacted, changed]");
    });
  } finally {
    await server.stop(true);
    await plane.stop();
  }
});
