import { afterEach, expect, test } from "bun:test";
import { createServer, type RequestListener, type Server } from "node:http";
import { freePort } from "../../test/kit/ports.ts";
import { LAUNCHERS } from "../app/launchers.ts";
import { EXIT } from "./command.ts";
import { runCommandLine } from "./run.ts";

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  servers.push(server);
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return `127.0.0.1:${address.port}`;
}

/** Nobody listens there. */
const closedAddress = async (): Promise<string> => `127.0.0.1:${await freePort()}`;

async function health(args: readonly string[], env: Record<string, string> = {}): Promise<{ exit: number; out: string }> {
  let out = "";
  const print = (text: string): void => {
    out += text;
  };
  const terminal = { out: print, error: print, env, isTty: false, cwd: "/nonexistent", readStdin: async () => "" };
  const exit = await runCommandLine(["health", ...args], terminal, LAUNCHERS);
  return { exit, out };
}

/** Lives, but is not ready. */
const unready: RequestListener = (request, response) => {
  response.statusCode = request.url === "/healthz" ? 200 : 503;
  response.end(request.url === "/healthz" ? "ok\n" : "not ready: no configuration\n");
};

test("asks whichever of proxy and control plane is there", async () => {
  const [up, nobody] = [await serve(unready), await closedAddress()];
  expect(await health(["--admin", up, "--listen", nobody])).toEqual({ exit: EXIT.ok, out: `proxy: ok (http://${up}/healthz)\n` });
  expect(await health(["--admin", nobody, "--listen", up])).toEqual({
    exit: EXIT.ok,
    out: `control: ok (http://${up}/healthz)\n`,
  });
  expect((await health(["--admin", nobody, "--listen", nobody])).exit).toBe(EXIT.unreachable);
  expect(await health(["--admin", "off", "--listen", "off"])).toEqual({ exit: EXIT.unreachable, out: "" });
});

test("--admin-url names a proxy as elsewhere; the command line comes before the environment", async () => {
  const [up, nobody] = [await serve(unready), await closedAddress()];
  for (const [args, env] of [
    [["--admin-url", `http://${up}`], {}],
    [["--admin-url", `http://${up}/`], { SELVEDGE_ADMIN: nobody }],
    [["--admin-url", up], {}],
    [["--admin", up], { SELVEDGE_ADMIN_URL: `http://${nobody}` }],
    [[], { SELVEDGE_ADMIN_URL: `http://${up}` }],
  ] as const)
    expect(await health([...args, "--listen", "off"], env)).toEqual({ exit: EXIT.ok, out: `proxy: ok (http://${up}/healthz)\n` });
  const bad = await health(["--admin-url", "http://a b", "--listen", "off"]);
  expect([bad.exit, bad.out.includes("http://a b is no address")]).toEqual([EXIT.usage, true]);
});

test("--ready asks for readiness, and one that is not ready counts", async () => {
  const [not, ready] = [await serve(unready), await serve((_, response) => response.end("ready\n"))];
  expect((await health(["--ready", "--admin", ready, "--listen", "off"])).exit).toBe(EXIT.ok);
  const mixed = await health(["--ready", "--admin", not, "--listen", ready]);
  expect(mixed.exit).toBe(EXIT.failed);
  expect(mixed.out).toContain("proxy: not ready: no configuration");
});

test("takes its addresses from the variables of the servers; all addresses means this machine", async () => {
  const up = await serve(unready);
  const port = up.slice(up.indexOf(":"));
  for (const address of [up, port, `0.0.0.0${port}`]) {
    expect((await health([], { SELVEDGE_ADMIN: address, SELVEDGE_LISTEN: "off" })).exit).toBe(EXIT.ok);
  }
});
