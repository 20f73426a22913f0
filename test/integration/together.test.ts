import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type net from "node:net";
import process from "node:process";
import { DEFAULT_DOWNSTREAM_TIMES, DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { ORPHANS } from "../../src/runtime/bun-socket.ts";
import { GET, judge, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { listenerOf, serviceOf } from "../kit/snapshot.ts";
import { until } from "../kit/until.ts";

// What comes in one moment, on several connections or beside a timer, is handed on together: each is treated as if it had come alone.
// Only on Bun's own sockets.

// With as many sockets given up while connecting as another test of this process may have left, node:net connects: it gathers nothing.
let orphans = 0;
beforeAll(() => {
  orphans = ORPHANS.count;
  ORPHANS.count = 0;
});
afterAll(() => {
  ORPHANS.count += orphans;
});

const KEPT = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx";
const TIME_MS = 400;

/** The process does nothing else for longer than `TIME_MS`; then it reads its sockets, and then timers fire. */
async function stall(): Promise<void> {
  await new Promise<void>((resolve) => void setImmediate(resolve));
  const endMs = performance.now() + 1.5 * TIME_MS;
  while (performance.now() < endMs);
}

describe("a process that stalled", () => {
  test("answers a request that came before its connection's time was over", async () => {
    const upstream = await startUpstream(() => okText("ok"));
    const times = { ...DEFAULT_DOWNSTREAM_TIMES, keepAliveIdleMs: TIME_MS };
    await withUpstream(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send(KEPT);
        await connection.until(/ok$/);
        connection.send(KEPT);
        await stall();
        expect((await connection.until(/ok[\s\S]*ok$/)).split("200 OK").length - 1).toBe(2);
        connection.destroy();
      },
      { listeners: [listenerOf({ times })] },
    );
  });

  test("passes an answer on that came before the upstream's time was over", async () => {
    let answer = (): void => {};
    const upstream = await startUpstream((_request, socket) => {
      answer = () => void socket.write(okText("ok"));
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const heard = sayRaw(proxy.port(), GET);
        await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
        answer();
        await stall();
        expect(judge(await heard)).toBe("200");
      },
      { services: [serviceOf("up", { limits: { ...DEFAULT_UPSTREAM_LIMITS, responseHeadMs: TIME_MS } })] },
    );
  });
});

// Which of two sockets is read first is known of epoll only: the one on which something came first.
describe.skipIf(process.platform !== "linux")("in the moment of an upstream's answer", () => {
  test("another's request comes, which may not be sent twice: it does not get a connection that is of no more use", async () => {
    let answer = (): void => {};
    const upstream = await startRawUpstream((socket, index) =>
      socket.on("data", () => {
        if (index > 0) socket.write(okText("fresh"));
        else answer = () => void socket.write(`${okText("ok")}and more`);
      }),
    );
    await withUpstream(upstream, async (proxy) => {
      const [first, second] = [await connectRaw(proxy.port()), await connectRaw(proxy.port())];
      await until(() => proxy.observer.connections === 2);
      first.send(KEPT);
      await until(() => upstream.received[0]?.endsWith("\r\n\r\n") === true);
      answer();
      second.send(POST);
      expect(wholeBody(await first.until(/ok$/))).toBe("ok");
      expect(wholeBody(await second.until(/\r\n\r\n.+/))).toBe("fresh");
      first.destroy();
      second.destroy();
    });
  });

  test("the end of its request comes: the upstream gets that, though its connection is not kept", async () => {
    let answer = (): void => {};
    const upstream = await startRawUpstream((socket) =>
      socket.on("data", () => {
        answer = () => void socket.write(okText("early", "keep-alive: timeout=0\r\n"));
      }),
    );
    await withUpstream(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\n1234");
      await until(() => upstream.received[0]?.endsWith("1234") === true);
      connection.send("5678");
      answer();
      expect(wholeBody(await connection.until(/early$/))).toBe("early");
      await until(() => upstream.received[0]?.endsWith("5678") === true);
      connection.destroy();
    });
  });
});

const asking = (path: string): string => `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n`;

// Of no more use, since they ended behind the data that came with it.
for (const count of [1, 10, 40])
  test(`${count} upstream connections that are reset behind an answer are not used for requests that came with it`, async () => {
    const held: net.Socket[] = [];
    const upstream = await startUpstream(({ head }, socket) => {
      if (!head.includes(" /held ")) return okText("other");
      held.push(socket);
      return undefined;
    });
    await withUpstream(upstream, async (proxy) => {
      const connect = () => Promise.all(Array.from({ length: count }, () => connectRaw(proxy.port())));
      const askers = await connect();
      const others = await connect();
      for (const asker of askers) asker.send(asking("/held"));
      while (held.length < count) await Bun.sleep(1);
      for (let i = 0; i < count; i++) {
        others[i]?.send(asking("/other"));
        held[i]?.write(okText("held"));
        held[i]?.resetAndDestroy();
      }
      for (const asker of askers) expect(await asker.until("held")).toStartWith("HTTP/1.1 200 ");
      for (const other of others) expect(await other.until("\r\n\r\n")).toStartWith("HTTP/1.1 200 ");
      for (const each of [...askers, ...others]) each.destroy();
    });
  });

test("who asks and is gone at once is known to the log and to the metrics of the route", async () => {
  const upstream = await startUpstream(() => okText("late"));
  await withUpstream(upstream, async (proxy) => {
    const connections = await Promise.all(Array.from({ length: 40 }, () => connectRaw(proxy.port())));
    for (const connection of connections) {
      connection.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      connection.reset();
    }
    // What was reset before it was read is no exchange.
    const last = await connectRaw(proxy.port());
    last.send("GET /last HTTP/1.1\r\nhost: a\r\n\r\n");
    await last.until("late");
    last.destroy();
    for (const { requestId, clientAddress, route } of await proxy.seen(1)) {
      expect(requestId).not.toBe("");
      expect(route).toBe("default/all");
      expect(clientAddress).toBe("127.0.0.1");
    }
  });
});
