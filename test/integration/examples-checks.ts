import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { join } from "node:path";
import process from "node:process";
import tls from "node:tls";
import type { ExampleRun } from "../kit/example.ts";
import { until } from "../kit/selvedge.ts";

/** What the README of each example claims beyond the commands that it shows. */
export const CHECKS: Readonly<Record<string, (run: ExampleRun) => Promise<void>>> = {
  authz: checkAuthz,
  canary: checkCanary,
  compression: checkCompression,
  "dns-service": checkDnsService,
  jwt: checkJwt,
  nats: checkNats,
  "proxy-protocol": checkProxyProtocol,
  quickstart: checkQuickstart,
  "rate-limit": checkRateLimit,
  static: checkStatic,
  tcp: checkTcp,
  tls: checkTls,
  transform: checkTransform,
  "unix-socket": checkUnixSocket,
  websocket: checkWebsocket,
};

const at = (run: ExampleRun, path: string): string => `http://127.0.0.1:${run.port(8080)}${path}`;

async function statusOf(run: ExampleRun, path: string, init: RequestInit = {}): Promise<number> {
  const response = await fetch(at(run, path), { redirect: "manual", ...init });
  await response.arrayBuffer();
  return response.status;
}

/** Edits the configuration and waits until every worker serves it. */
async function editAndWait(run: ExampleRun, change: (yaml: string) => string): Promise<void> {
  const applied = (): number => run.said().split('"message":"configuration applied"').length;
  const before = applied();
  run.edit(change);
  await until(() => applied() > before);
}

async function checkQuickstart(run: ExampleRun): Promise<void> {
  run.edit((yaml) => yaml.replace("backends: [shop]", "backnds: [shop]"));
  await until(() => run.said().includes("unknown_key"));
  expect(run.said()).toMatch(/config\.yaml:\d+:\d+ unknown_key Route default\/shop.*backnds.*did you mean backends/s);
  expect(await statusOf(run, "/")).toBe(200);
  await editAndWait(run, (yaml) => yaml.replace("backnds: [shop]", 'respond: { body: "edited" }'));
  expect(await (await fetch(at(run, "/"))).text()).toBe("edited");
  expect(await run.shell("UPSTREAM=nowhere node bin/selvedge.mjs validate -f examples/quickstart/config.yaml")).toContain(
    "bad_address",
  );
  expect(await run.shell("PORT=none node bin/selvedge.mjs validate -f examples/quickstart/config.yaml")).toContain("wrong_type");
}

async function checkCanary(run: ExampleRun): Promise<void> {
  const count = async (total: number, headers: Record<string, string> = {}): Promise<number> => {
    let canary = 0;
    const ask = async (): Promise<void> => {
      const { service } = (await (await fetch(at(run, "/"), { headers })).json()) as { service: string };
      expect([run.port(9000), run.port(9001)]).toContain(Number(service));
      if (Number(service) === run.port(9001)) canary++;
    };
    for (let done = 0; done < total; done += 20) await Promise.all(Array.from({ length: 20 }, ask));
    return canary;
  };
  // 100 expected of 1,000, with a standard deviation of 9.5: beyond five of them once in two million runs.
  const share = await count(1_000);
  expect(share).toBeGreaterThan(52);
  expect(share).toBeLessThan(148);
  expect(await count(100, { "x-version": "v2" })).toBe(100);
  await editAndWait(run, (yaml) => yaml.replace("weight: 90", "weight: 0"));
  expect(await count(100)).toBe(100);
}

async function checkRateLimit(run: ExampleRun): Promise<void> {
  // Another address of this machine, with counters of its own. One more is allowed every 6 s.
  const ask = (): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => {
      const request = http.get(at(run, "/"), { localAddress: "127.0.0.2", agent: false }, (response) =>
        resolve(response.resume()),
      );
      request.on("error", reject);
    });
  const start = performance.now();
  const first = await ask();
  expect(first.statusCode).toBe(200);
  expect(first.headers["ratelimit-policy"]).toBe('"per-caller";q=10;w=60');
  expect(first.headers.ratelimit).toMatch(/^"per-caller";r=4;t=[56]$/);
  let allowed = 1;
  const askAll = async (): Promise<void> => {
    for (const { statusCode, headers } of await Promise.all(Array.from({ length: 15 }, ask))) {
      if (statusCode === 200) allowed++;
      else {
        expect(statusCode).toBe(429);
        expect(headers["retry-after"]).toMatch(/^[1-6]$/);
      }
    }
  };
  await askAll();
  await editAndWait(run, (yaml) => yaml.replace("filters: [limit]", "filters: [limit]\n      timeout: 15s"));
  await askAll();
  const refilled = Math.floor((performance.now() - start) / 6_000);
  expect(allowed).toBeGreaterThanOrEqual(5);
  expect(allowed).toBeLessThanOrEqual(5 + refilled);
}

async function checkAuthz(run: ExampleRun): Promise<void> {
  const key = readFileSync(join(run.folder, "selvedge-key"), "latin1").trim();
  const post = (path: string, ...keys: string[]): Promise<number> =>
    statusOf(run, path, { method: "POST", headers: keys.map((value): [string, string] => ["x-api-key", value]) });
  expect(await statusOf(run, "/items", { method: "HEAD" })).toBe(200);
  expect(await post("/items", key)).toBe(200);
  expect(await post("/items", `${key}0`)).toBe(403);
  expect(await post("/items", createHash("sha256").update(key).digest("hex"))).toBe(403);
  expect(await post("/items", key, key)).toBe(403);
  expect(await post("/internal", key)).toBe(403);
  expect(await post("/internal/users", key)).toBe(403);
  expect(await statusOf(run, "/items/%2e%2e/%69nternal/users")).toBe(403);
  expect(await statusOf(run, "/internals")).toBe(200);
  expect(await statusOf(run, "/items", { method: "DELETE" })).toBe(403);
  expect(await run.shell("node bin/selvedge.mjs validate -f examples/authz/config.yaml")).toContain("missing_variable");
}

async function checkTransform(run: ExampleRun): Promise<void> {
  const origin = "https://app.example.com";
  const answer = await fetch(at(run, "/api/v1/items?a=1&utm_source=x"), {
    headers: { origin, "x-debug": "1", "x-caller": "me" },
  });
  expect(answer.headers.get("access-control-allow-origin")).toBe(origin);
  expect(answer.headers.get("server")).toBeNull();
  const seen = (await answer.json()) as { service?: string; request: string; headers: Record<string, string> };
  expect(seen.service).toBeUndefined();
  expect(seen.request).toBe("GET /api/items?a=1");
  expect(seen.headers["x-debug"]).toBeUndefined();
  expect(seen.headers["x-caller"]).toMatch(/^127\.0\.0\.1:\d+$/);
  const foreign = { origin: "https://elsewhere.example", "access-control-request-method": "POST" };
  expect(await statusOf(run, "/", { method: "OPTIONS", headers: foreign })).toBe(403);
  const broken = { "content-type": "application/json" };
  expect(await statusOf(run, "/api/v1/items", { method: "POST", headers: broken, body: "{" })).toBe(400);
}

async function checkStatic(run: ExampleRun): Promise<void> {
  const plain = await fetch(at(run, "/shop"), { headers: { accept: "text/plain" } });
  expect([plain.status, plain.headers.get("retry-after")]).toEqual([503, "600"]);
  expect(plain.headers.get("content-type")).toContain("text/plain");
  expect(await plain.text()).toContain("maintenance");
  expect(await statusOf(run, "/older")).toBe(200);
  expect(await (await fetch(at(run, "/"), { method: "HEAD" })).text()).toBe("");
}

async function checkTls(run: ExampleRun): Promise<void> {
  const file = join(run.folder, "examples/tls/edge.crt");
  const connect = (): Promise<tls.TLSSocket> =>
    new Promise((resolve, reject) => {
      const ca = readFileSync(file);
      const socket = tls.connect({ port: run.port(8443), host: "127.0.0.1", servername: "localhost", ca }, () => resolve(socket));
      socket.once("error", reject);
    });
  const ask = (socket: tls.TLSSocket): Promise<string> =>
    new Promise((resolve, reject) => {
      socket.once("data", (data) => resolve(data.toString("latin1").slice(0, 15)));
      socket.once("close", () => reject(new Error("closed")));
      socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    });
  const old = await connect();
  expect(["TLSv1.2", "TLSv1.3"]).toContain(old.getProtocol() ?? "");
  expect(await ask(old)).toBe("HTTP/1.1 200 OK");
  const renew = run.readme.starts[0]?.split("\nnode")[0] ?? "";
  await run.shell(renew);
  // Trusted is the new one alone.
  await until(() =>
    connect().then(
      (fresh) => void fresh.destroy() === undefined,
      () => false,
    ),
  );
  expect(await ask(old)).toBe("HTTP/1.1 200 OK");
  old.destroy();
  const redirect = await fetch(at(run, "/a?b=c"), { method: "POST", redirect: "manual" });
  expect([redirect.status, redirect.headers.get("location")]).toEqual([308, `https://127.0.0.1:${run.port(8443)}/a?b=c`]);
}

async function checkWebsocket(run: ExampleRun): Promise<void> {
  const socket = new WebSocket(`ws://127.0.0.1:${run.port(8080)}/chat/room`);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  const echo = (text: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      socket.onmessage = ({ data }) => resolve(data);
      socket.onclose = () => reject(new Error("closed"));
      socket.send(text);
    });
  expect(await echo("one")).toBe("one");
  await editAndWait(run, (yaml) => yaml.replace("timeout: 15s", "timeout: 16s"));
  expect(await echo("two")).toBe("two");
  const closed = new Promise((resolve) => {
    socket.onclose = resolve;
  });
  socket.close();
  await closed;
}

async function checkJwt(run: ExampleRun): Promise<void> {
  const issue = async (...claims: string[]): Promise<string> =>
    (await run.shell(`node examples/jwt/issuer.mjs token ${claims.join(" ")}`)).trim();
  const ask = (path: string, token: string, more: Record<string, string> = {}): Promise<Response> =>
    fetch(at(run, path), { headers: { authorization: `Bearer ${token}`, ...more } });
  const token = await issue("alice");
  const told = (await (await ask("/account/x", token, { "x-user": "root" })).json()) as { headers: Record<string, string> };
  expect(told.headers["x-user"]).toBe("alice");
  expect(told.headers.authorization).toBeUndefined();
  const [head = "", claims = "", signature = ""] = token.split(".");
  const unsigned = Buffer.from('{"alg":"none"}').toString("base64url");
  const forged = Buffer.from(
    JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url").toString()), groups: ["staff"] }),
  ).toString("base64url");
  for (const bad of ["x", `${head}.${forged}.${signature}`, `${unsigned}.${forged}.`, `${head}.${claims}.`])
    expect((await ask("/admin/users", bad)).status).toBe(401);
  expect((await ask("/elsewhere", token)).status).toBe(403);
  // New keys, taken up while it runs.
  await run.shell("node examples/jwt/issuer.mjs keys");
  const renewed = await issue("bob", "staff");
  await until(async () => (await ask("/admin/users", renewed)).status === 200);
  expect((await ask("/account/x", token)).status).toBe(401);
}

async function checkNats(run: ExampleRun): Promise<void> {
  const text = readFileSync(join(run.folder, "examples/nats/change.yaml"), "utf8").replace("respond:", "respnd:");
  const answer = await run.shell(`nats request selvedge.config.apply '${text}'`);
  expect(answer).toContain("unknown_key");
  expect(answer).toContain("did you mean respond");
  expect(await (await fetch(at(run, "/"))).text()).toBe("hello over NATS\n");
}

async function checkProxyProtocol(run: ExampleRun): Promise<void> {
  const ask = (header: string, localAddress: string): Promise<string> =>
    new Promise((resolve) => {
      let heard = "";
      const socket = net.connect({ port: run.port(8080), host: "127.0.0.1", localAddress });
      socket.setEncoding("latin1").on("data", (text: string) => {
        heard += text;
      });
      socket.on("error", () => {}).on("close", () => resolve(heard));
      socket.write(Buffer.from(`${header}GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n`, "latin1"));
    });
  // Version 2, PROXY over TCP on IPv4, 12 bytes: 198.51.100.9:4711 to 127.0.0.1:80.
  const v2 = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc6\x33\x64\x09\x7f\0\0\x01\x12\x67\0\x50";
  const v1 = "PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n";
  expect(await ask(v2, "127.0.0.1")).toContain('"x-forwarded-for": "198.51.100.9"');
  expect(await ask(v1, "127.0.0.1")).toContain('"x-forwarded-for": "203.0.113.7"');
  expect(await ask(v1, "127.0.0.2")).toBe("");
  expect(await ask("", "127.0.0.1")).toBe("");
}

async function checkTcp(run: ExampleRun): Promise<void> {
  const socket = net.connect(run.port(8080), "127.0.0.1");
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => {});
  const next = (): Promise<string> => new Promise((resolve) => socket.once("data", (chunk) => resolve(chunk.toString("latin1"))));
  expect(await next()).toStartWith("INFO {");
  await editAndWait(run, (yaml) => yaml.replace("backends: [nats]", "backends: [nats]\n    idle: 10m"));
  socket.write('CONNECT {"verbose":false}\r\nPING\r\n');
  expect(await next()).toContain("PONG");
  await editAndWait(run, (yaml) =>
    yaml.replace("metadata: { name: nats }\nspec:\n  tcp:", "metadata: { name: other }\nspec:\n  tcp:"),
  );
  await closed;
}

async function checkUnixSocket(run: ExampleRun): Promise<void> {
  const unix = join(run.folder, "selvedge-edge.sock");
  const ask = (): Promise<number> =>
    fetch("http://localhost/", { unix }).then(
      async (response) => {
        await response.text();
        return response.status;
      },
      () => 0,
    );
  expect(statSync(unix).isSocket()).toBe(true);
  expect(await Promise.all(Array.from({ length: 20 }, ask))).toEqual(Array.from({ length: 20 }, () => 200));
  // Its worker dies: the next one takes the socket over.
  const status = (await (await fetch(`http://127.0.0.1:${run.port(8081)}/status`)).json()) as { workers: { pid: number }[] };
  const worker = status.workers[0]?.pid ?? 0;
  expect(worker).toBeGreaterThan(1);
  process.kill(worker, "SIGKILL");
  await until(async () => (await ask()) === 0 || run.said().includes("a worker is gone"));
  await until(async () => (await ask()) === 200);
}

async function checkDnsService(run: ExampleRun): Promise<void> {
  const ports = join(run.folder, "selvedge-ports");
  const ask = async (): Promise<string> => ((await (await fetch(at(run, "/"))).json()) as { service: string }).service;
  writeFileSync(ports, `${run.port(9000)} ${run.port(9001)}\n`);
  const seen = new Set<string>();
  await until(async () => seen.add(await ask()).size === 2);
  rmSync(ports);
  await until(() => run.said().split("SERVFAIL").length > 2);
  expect([run.port(9000), run.port(9001)]).toContain(Number(await ask()));
}

async function checkCompression(run: ExampleRun): Promise<void> {
  const ask = async (path: string, accepted: string): Promise<string | null> => {
    const response = await fetch(at(run, path), { headers: { "accept-encoding": accepted } });
    const text = await response.text();
    if (path.endsWith("/text")) expect(text).toBe("all work and no play\n".repeat(200));
    return response.headers.get("content-encoding");
  };
  expect(await ask("/text", "br, gzip")).toBe("gzip");
  expect(await ask("/text", "br")).toBe("br");
  expect(await ask("/text", "gzip;q=0, br")).toBe("br");
  expect(await ask("/text", "identity")).toBeNull();
  expect(await ask("/small", "gzip")).toBeNull();
  expect(await ask("/login/text", "gzip")).toBeNull();
}
