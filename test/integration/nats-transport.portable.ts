/** The library of NATS on our sockets: what a server may send, when it may go, and when it is spoken to with TLS only. */
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NatsConnection } from "@nats-io/nats-core";
import { connectNats, type NatsAddress } from "../../src/config/nats/connect.ts";
import { NotNatsError, notNatsFields } from "../../src/config/nats/transport.ts";
import { CONFIG_LIMITS } from "../../src/core/limits.ts";
import { testAuthority } from "../kit/certs.ts";
import { startNats } from "../kit/nats.ts";
import { afterEach, describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const INFO = `INFO ${JSON.stringify({ server_id: "x", version: "2.10.0", proto: 1, headers: true, max_payload: 1_048_576 })}\r\n`;

interface FakeServer {
  readonly address: NatsAddress;
  /** One after another, as they came. */
  readonly sockets: readonly Socket[];
  /** What each said. */
  readonly heard: readonly string[];
  close(): Promise<void>;
}

/** Speaks as `greet` says, and answers pings. */
async function startFake(greet: (socket: Socket) => void): Promise<FakeServer> {
  const sockets: Socket[] = [];
  const heard: string[] = [];
  const server = createServer({ noDelay: true }, (socket) => {
    const index = sockets.push(socket) - 1;
    heard.push("");
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      heard[index] += text;
      for (const _ of text.matchAll(/PING\r\n/g)) socket.write("PONG\r\n");
    });
    greet(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: { servers: [`nats://127.0.0.1:${port}`] },
    sockets,
    heard,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** What a connection hears on a subject. */
function texts(connection: NatsConnection, subject: string): string[] {
  const heard: string[] = [];
  connection.subscribe(subject, { callback: (_, message) => void heard.push(message.string()) });
  return heard;
}

describe("nats transport", () => {
  const servers: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });
  const fake = async (greet: (socket: Socket) => void): Promise<FakeServer> => {
    const server = await startFake(greet);
    servers.push(server);
    return server;
  };

  test("bytes that are no NATS cost the connection, not what comes after it", async () => {
    const server = await fake((socket) => socket.write(INFO));
    const connection = await connectNats(server.address, "x");
    const told: unknown[] = [];
    void (async () => {
      for await (const event of connection.status()) if (event.type === "error") told.push(event.error);
    })();
    const printed: unknown[] = [];
    const { log } = console;
    console.log = (...words: unknown[]) => void printed.push(words);
    const pings = (): number => server.heard[0]?.split("PING\r\n").length ?? 0;
    const before = pings();
    server.sockets[0]?.write("MSG a 1 5\r\nhello\r\nNONSENSE\r\n");
    await until(() => server.sockets.length === 2);
    // It was not a ping that was overdue.
    assert.equal(pings(), before);
    await connection.flush();
    console.log = log;
    assert.deepEqual(printed, []);
    const [error] = told;
    assert.ok(error instanceof NotNatsError);
    assert.deepEqual(notNatsFields(error), {
      code: "nats_protocol",
      side: "control",
      server: server.address.servers[0]?.replace("nats://", ""),
      cause: "the server sent what is no NATS (parse error [0])",
    });
    await connection.close();
  });

  test("a message that broke off is not continued by the next connection", async () => {
    const server = await fake((socket) => socket.write(INFO));
    const connection = await connectNats(server.address, "x");
    const heard = texts(connection, "a");
    await connection.flush();
    server.sockets[0]?.write(`MSG a 1 3\r\none\r\nMSG a 1 5000\r\n${"x".repeat(4000)}`, () =>
      server.sockets[0]?.resetAndDestroy(),
    );
    await until(() => server.sockets.length === 2 && server.heard[1]?.includes("SUB a 1") === true);
    server.sockets[1]?.write("MSG a 1 3\r\ntwo\r\n");
    await until(() => heard.length === 2);
    assert.deepEqual(heard, ["one", "two"]);
    await connection.close();
  });

  test("the end comes after what was said before it", async () => {
    const server = await fake((socket) => socket.write(INFO));
    const connection = await connectNats(server.address, "x");
    const heard = texts(connection, "a");
    await connection.flush();
    server.sockets[0]?.end(`MSG a 1 3\r\none\r\nMSG a 1 200000\r\n${"y".repeat(200_000)}\r\n`);
    await until(() => server.sockets.length === 2);
    assert.deepEqual(
      heard.map((each) => each.length),
      [3, 200_000],
    );
    await connection.close();
  });

  test("a greeting in pieces, one byte at a time", async () => {
    const server = await fake(async (socket) => {
      for (const byte of INFO) await new Promise<void>((resolve) => void socket.write(byte, () => setImmediate(resolve)));
    });
    const connection = await connectNats(server.address, "x");
    await connection.flush();
    await connection.close();
    // Nothing of ours is cut off at the end.
    await until(() => server.sockets[0]?.readableEnded === true);
  });

  test("who is no NATS server is not waited for", async () => {
    const endless = "x".repeat(64 * 1024);
    const greetings: ((socket: Socket) => void)[] = [
      (socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n"),
      (socket) => socket.write("INFO {not JSON}\r\n"),
      (socket) =>
        socket.write(`INFO {"max_payload":1000,"x":${"[".repeat(CONFIG_LIMITS.depth)}${"]".repeat(CONFIG_LIMITS.depth)}}\r\n`),
      (socket) => {
        for (let sent = 0; sent <= CONFIG_LIMITS.natsGreetingBytes; sent += endless.length) socket.write(endless);
      },
    ];
    for (const greet of greetings) {
      const server = await fake(greet);
      await assert.rejects(connectNats(server.address, "x"), /no NATS server/);
    }
  });

  test("a server that goes away at any moment of connecting does not take the process with it", async () => {
    const ways: ((socket: Socket) => void)[] = [
      (socket) => socket.resetAndDestroy(),
      (socket) => socket.end(),
      (socket) => socket.write(INFO, () => socket.resetAndDestroy()),
      (socket) => void socket.once("data", () => socket.write("PONG\r\n", () => socket.resetAndDestroy())).write(INFO),
    ];
    for (const way of ways) {
      const server = await fake(way);
      const connection = await connectNats(server.address, "x").catch(() => undefined);
      await connection?.close();
    }
  });

  test("credentials go to a server with TLS only when tls:// or an authority says so", async () => {
    const server = await fake((socket) => socket.write(INFO));
    const [url] = server.address.servers;
    const secret = { user: "ann", password: "hunter2" };
    await assert.rejects(connectNats({ ...secret, servers: [`${url}`.replace("nats:", "tls:")] }, "x"), /tls/);
    await assert.rejects(connectNats({ ...secret, ...server.address, tls: {} }, "x"), /tls/);
    assert.ok(server.heard.length > 0 && server.heard.every((each) => !each.includes("hunter2")));
  });

  test("a real server with TLS: asked for by us or by the server, over a restart, and never with a certificate that does not hold", async () => {
    const folder = await mkdtemp(join(tmpdir(), "selvedge-nats-tls-"));
    const authority = await testAuthority("nats");
    const { certificatePem, keyPem } = await authority.issue({ dns: ["localhost"], ip: ["127.0.0.1"] });
    const write = async (name: string, text: string): Promise<string> => {
      await writeFile(join(folder, name), text);
      return join(folder, name);
    };
    const caFile = await write("ca.pem", authority.certificatePem);
    const config = `tls { cert_file: "${await write("cert.pem", certificatePem)}", key_file: "${await write("key.pem", keyPem)}" }`;
    const server = await startNats({ config });
    servers.push({ close: () => server.stop().then(() => rm(folder, { recursive: true })) });
    // The server demands it; nothing says whom to trust.
    await assert.rejects(connectNats({ servers: [server.url] }, "x"), /certificate/i);
    const connection = await connectNats({ servers: [server.url], tls: { caFile } }, "x");
    const heard = texts(connection, "a");
    connection.publish("a", "one");
    await until(() => heard.length === 1);
    await server.halt(true);
    await server.resume();
    await until(() => {
      connection.publish("a", "two");
      return heard.includes("two");
    });
    await connection.close();
  });
});
