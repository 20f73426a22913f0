import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SocketAddress } from "../../src/runtime/net.ts";
import { type FetchHandler, type FetchServer, serveFetch } from "../../src/runtime/serve.ts";
import { startNodeServer } from "../../src/runtime/serve-node.ts";
import { testAuthority } from "../kit/certs.ts";
import { freePort } from "../kit/ports.ts";
import { describe, test } from "../kit/suite.ts";

const handler: FetchHandler = async (request, { remoteAddress }) => {
  const url = new URL(request.url);
  if (url.pathname === "/throw") throw new Error("a secret reason");
  const headers = new Headers({ "x-remote": remoteAddress });
  headers.append("set-cookie", "a=1");
  headers.append("set-cookie", "b=2");
  return new Response(`${request.method} ${url.pathname}${url.search} ${await request.text()}`, { status: 201, headers });
};

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

function ask(address: SocketAddress, options: { path: string; method?: string; body?: string; ca?: string }): Promise<Answer> {
  const where = address.kind === "unix" ? { socketPath: address.path } : { host: address.host, port: address.port };
  const { request } = options.ca === undefined ? http : https;
  return new Promise((resolve, reject) => {
    const { body = "", ...rest } = options;
    const asked = request({ ...where, ...rest, servername: "admin.test", agent: false }, (incoming) => {
      const parts: Buffer[] = [];
      incoming.on("data", (part: Buffer) => void parts.push(part));
      incoming.on("error", reject);
      incoming.on("end", () =>
        resolve({ status: incoming.statusCode, headers: incoming.headers, body: Buffer.concat(parts).toString() }),
      );
    });
    asked.on("error", reject);
    asked.end(body);
  });
}

async function withServer(
  options: Parameters<typeof serveFetch>[0],
  body: (server: FetchServer) => Promise<void>,
): Promise<void> {
  const server = await serveFetch(options);
  try {
    await body(server);
  } finally {
    await server.close();
  }
}

const LOOPBACK: SocketAddress = { kind: "tcp", host: "127.0.0.1", port: 0 };

async function expectWhole(address: SocketAddress, remote: string, ca?: string): Promise<void> {
  const answer = await ask(address, { path: "/a?b=c", method: "POST", body: "hello", ...(ca === undefined ? {} : { ca }) });
  assert.equal(answer.status, 201);
  assert.equal(answer.body, "POST /a?b=c hello");
  assert.equal(answer.headers["x-remote"], remote);
  assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
}

describe("serveFetch", () => {
  test("TCP: requests, answers, the peer's address; a handler that throws answers 500 without the reason", () =>
    withServer({ address: LOOPBACK, fetch: handler }, async ({ address }) => {
      assert.ok(address.kind === "tcp" && address.port > 0);
      await expectWhole(address, "127.0.0.1");
      const failed = await ask(address, { path: "/throw" });
      assert.equal(failed.status, 500);
      assert.equal(failed.body, "internal error\n");
    }));

  test("TLS", async () => {
    const ca = await testAuthority();
    const made = await ca.issue({ dns: ["admin.test"] });
    await withServer({ address: LOOPBACK, fetch: handler, tls: made }, ({ address }) =>
      expectWhole(address, "127.0.0.1", ca.certificatePem),
    );
  });

  test("a Unix socket, for its owner only, gone afterwards", async () => {
    const folder = mkdtempSync(join(tmpdir(), "selvedge-serve-"));
    try {
      const path = join(folder, "admin.sock");
      await withServer({ address: { kind: "unix", path }, fetch: handler }, async ({ address }) => {
        await expectWhole(address, "");
        assert.equal(statSync(path).mode & 0o777, 0o600);
      });
      assert.equal(existsSync(path), false);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a port in use is named; close frees it", async () => {
    const first = await serveFetch({ address: { kind: "tcp", host: "127.0.0.1", port: await freePort() }, fetch: handler });
    assert.ok(first.address.kind === "tcp");
    await assert.rejects(serveFetch({ address: first.address, fetch: handler }), {
      message: `port ${first.address.port} on 127.0.0.1 is in use`,
    });
    await first.close();
    await withServer({ address: first.address, fetch: handler }, ({ address }) => expectWhole(address, "127.0.0.1"));
  });

  test("the same on node:http", async () => {
    const server = await startNodeServer(LOOPBACK, undefined, async (request, remoteAddress) =>
      handler(request, { remoteAddress }),
    );
    await expectWhole({ kind: "tcp", host: "127.0.0.1", port: server.port }, "127.0.0.1");
    await server.close();
  });
});
