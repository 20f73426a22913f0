// What is said of an apply: a dry run must not read as if it had been one, and --json is one document.
import { expect, test } from "bun:test";
import { inFolder, runInFolder } from "../../../test/kit/command-line.ts";
import { serveControlApi } from "../../../test/kit/control-api.ts";
import { EXIT } from "../command.ts";

const service = (port: number): string =>
  JSON.stringify({
    ...{ apiVersion: "selvedge.dev/v1", kind: "Service", metadata: { name: "shop" } },
    spec: { endpoints: [`127.0.0.1:${port}`] },
  });

test("dry runs of apply and delete say that nothing was changed", async () => {
  const { url, stop } = await serveControlApi();
  try {
    await inFolder({ "one.json": service(1), "two.json": service(2) }, async (folder) => {
      const said = async (...argv: string[]): Promise<string> => {
        const { exit, out, error } = await runInFolder(folder, [...argv, "--server", url]);
        expect([argv, exit, error]).toEqual([argv, EXIT.ok, ""]);
        return out;
      };
      const dry = (argv: string[]) => said(...argv, "--dry-run");
      const [one, two] = [`${folder}/one.json`, `${folder}/two.json`];
      expect(await dry(["apply", "-f", one])).toBe("Service/shop would be created\ndry run: it stays at revision 0\n");
      expect(await said("apply", "-f", one)).toBe("Service/shop created\nrevision 1\n");
      expect(await dry(["apply", "-f", two, "--wait"])).toBe("Service/shop would be changed\ndry run: it stays at revision 1\n");
      expect(await dry(["apply", "-f", one])).toBe("nothing would change\ndry run: it stays at revision 1\n");
      expect(await dry(["delete", "Service/shop"])).toBe("Service/shop would be deleted\ndry run: it stays at revision 1\n");
      expect(await said("get")).toContain("Service/shop");
    });
  } finally {
    await stop();
  }
});

test("apply and rollback with --wait and --json print one document", async () => {
  const { url, stop } = await serveControlApi();
  try {
    await inFolder({ "one.json": service(1), "two.json": service(2) }, async (folder) => {
      const run = async (...argv: string[]) => {
        const { exit, out, error } = await runInFolder(folder, [...argv, "--wait", "--json", "--server", url]);
        expect(error).toBe("");
        return [exit, JSON.parse(out)];
      };
      const wait = { ok: true, pending: [], rejected: [] };
      expect(await run("apply", "-f", `${folder}/one.json`)).toMatchObject([EXIT.ok, { ok: true, revision: 1, wait }]);
      expect(await run("apply", "-f", `${folder}/two.json`, "--proxies", "1", "--timeout", "1")).toMatchObject([
        EXIT.unreachable,
        { ok: true, revision: 2, wait: { ok: false } },
      ]);
      expect(await run("rollback", "1")).toMatchObject([EXIT.ok, { ok: true, revision: 3, wait }]);
      expect(await run("rollback", "99")).toMatchObject([EXIT.notFound, { ok: false, reason: "not_found" }]);
    });
  } finally {
    await stop();
  }
});

test("status says of a proxy whether it is behind or ahead of what is stored", async () => {
  const proxy = { group: "gateway", rejectedRevision: 0, issues: [], events: [], applyMs: 1 };
  const proxies = [3, 4, 5].map((revision) => ({ ...proxy, id: `edge-${revision}`, revision }));
  const server = Bun.serve({
    ...{ hostname: "127.0.0.1", port: 0 },
    fetch: () => Response.json({ revision: 4, resources: 0, issues: [], store: "nats", connection: "connected", proxies }),
  });
  try {
    const { out } = await runInFolder("/", ["status", "--server", `http://127.0.0.1:${server.port}`]);
    expect(out).toMatch(/edge-3 .* behind .*\nedge-4 .* ok .*\nedge-5 .* ahead /);
  } finally {
    await server.stop(true);
  }
});
