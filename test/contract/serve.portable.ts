import assert from "node:assert/strict";
import http from "node:http";
import https from "node:https";
import { type FetchHandler, type FetchServer, type ServeAddress, serveFetch } from "../../src/runtime/serve.ts";
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

function ask(address: ServeAddress, options: { path: string; method?: string; body?: string; ca?: string }): Promise<Answer> {
  const { request } = options.ca === undefined ? http : https;
  return new Promise((resolve, reject) => {
    const { body = "", ...rest } = options;
    const asked = request({ ...address, ...rest, servername: "admin.test", agent: false }, (incoming) => {
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

const LOOPBACK: ServeAddress = { host: "127.0.0.1", port: 0 };

async function expectWhole(address: ServeAddress, remote: string, ca?: string): Promise<void> {
  const answer = await ask(address, { path: "/a?b=c", method: "POST", body: "hello", ...(ca === undefined ? {} : { ca }) });
  assert.equal(answer.status, 201);
  assert.equal(answer.body, "POST /a?b=c hello");
  assert.equal(answer.headers["x-remote"], remote);
  assert.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
}

describe("serveFetch", () => {
  test("TCP: requests, answers, the peer's address; a handler that throws answers 500 without the reason", () =>
    withServer({ address: LOOPBACK, fetch: handler }, async ({ address }) => {
      assert.ok(address.port > 0);
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

  test("a port in use is named; close frees it", async () => {
    const first = await serveFetch({ address: { host: "127.0.0.1", port: await freePort() }, fetch: handler });
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
    await expectWhole({ host: "127.0.0.1", port: server.port }, "127.0.0.1");
    await server.close();
  });
});
