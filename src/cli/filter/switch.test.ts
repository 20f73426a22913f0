import { afterAll, expect, test } from "bun:test";
import type { Launchers } from "../command.ts";
import { EXIT } from "../command.ts";
import { runCommandLine } from "../run.ts";

const asked: string[] = [];
const admin = Bun.serve({
  ...{ port: 0, hostname: "127.0.0.1" },
  fetch(request) {
    const { pathname } = new URL(request.url);
    asked.push(`${request.method} ${pathname} ${request.headers.get("authorization")}`);
    if (request.headers.get("authorization") === null) return new Response("no", { status: 401 });
    if (pathname === "/filters")
      return Response.json({
        filters: [{ name: "prod/geo", state: "disabled by hand", instances: 0, traps: 2, digest: "sha256:00" }],
      });
    if (pathname.startsWith("/filters/prod/geo/"))
      return Response.json({ filter: "prod/geo", action: "x", workers: 2, onFailure: "open" });
    return Response.json({ error: "no filter default/geo" }, { status: 404 });
  },
});
afterAll(() => admin.stop(true));

async function run(...argv: string[]): Promise<{ exit: number; out: string; error: string }> {
  let [out, error] = ["", ""];
  const terminal = {
    out: (text: string) => {
      out += text;
    },
    error: (text: string) => {
      error += text;
    },
    ...{ env: {}, isTty: false, cwd: "/nonexistent", readStdin: async () => "" },
  };
  return { exit: await runCommandLine(["filter", ...argv], terminal, {} as Launchers), out, error };
}

test("with --admin-url one proxy is told, whatever the control plane is", async () => {
  const there = ["--admin-url", admin.url.href, "--admin-token", "secret"];
  for (const action of ["disable", "enable", "release"])
    expect(await run(action, "prod/geo", ...there)).toEqual({
      ...{ exit: EXIT.ok, error: "" },
      out: `✓ prod/geo: ${action}d in 2 workers of this proxy\n${
        action === "disable" ? "onFailure open: routes that name it go on without it until it is enabled\n" : ""
      }`,
    });
  expect(asked).toEqual(["disable", "enable", "release"].map((each) => `POST /filters/prod/geo/${each} Bearer secret`));
  expect(JSON.parse((await run("disable", "prod/geo", "--json", ...there)).out)).toMatchObject({ workers: 2 });
  expect(await run("disable", "geo", ...there)).toMatchObject({
    exit: EXIT.notFound,
    error: expect.stringContaining("no filter default/geo"),
  });
  const refused = await run("disable", "geo", "--admin-url", admin.url.href);
  expect(refused.error).toContain("401");
  expect(refused.error).toContain("--admin-token");
  expect((await run("disable", "geo", "--admin-url", "http://127.0.0.1:1")).exit).toBe(EXIT.unreachable);
  expect((await run("disable", "a/b/c", ...there)).exit).toBe(EXIT.usage);
});

test("filter list with --admin-url shows what one proxy runs", async () => {
  const { exit, out } = await run("list", "--admin-url", admin.url.href, "--admin-token", "secret");
  expect([exit, out.split("\n").map((line) => line.trim().split(/ {2,}/))]).toEqual([
    EXIT.ok,
    [["FILTER", "STATE", "INSTANCES", "TRAPS", "DIGEST"], ["prod/geo", "disabled by hand", "0", "2", "sha256:00"], [""]],
  ]);
});
