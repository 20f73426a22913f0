import assert from "node:assert/strict";
import net from "node:net";
import { DEFAULT_DOWNSTREAM_TIMES, DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { withProxy } from "../kit/end-to-end.ts";
import { freePort } from "../kit/ports.ts";
import { connectRaw, startRawUpstream } from "../kit/raw.ts";
import { endpointsOf, listenerOf, routeOf, ruleOf, serviceOf, snapshotOf } from "../kit/snapshot.ts";
import {
  codesOf,
  echo,
  onlyStream,
  seenStreams,
  startEcho,
  tcpListener,
  tcpParts,
  tcpRoute,
  withStreams,
} from "../kit/streams.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// Streams of bytes through a whole proxy, on real sockets.

describe("TCP streams", () => {
  test("bytes go both ways, each direction ends for itself, and the record says all", async () => {
    await withStreams(echo, async (proxy, upstream) => {
      const connection = await connectRaw(proxy.port());
      connection.send("one ");
      await connection.until("one ");
      connection.send("two");
      connection.end();
      assert.equal(await connection.closed(), "one two");
      assert.deepEqual(await onlyStream(proxy), {
        ...{ route: "default/streams", service: "default/up", endpoint: `127.0.0.1:${upstream.port}` },
        ...{ attempts: 1, code: "", failure: "", receivedBytes: 7, sentBytes: 7, notes: [] },
      });
      connection.destroy();
    });
  });

  test("the server speaks first", async () => {
    const greet = (socket: net.Socket): void => {
      socket.write("220 ready\r\n");
      socket.on("data", (chunk) => socket.end(`bye ${chunk}`));
    };
    await withStreams(greet, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      await connection.until("220 ready\r\n");
      connection.send("quit");
      assert.equal(await connection.closed(), "220 ready\r\nbye quit");
      connection.end();
      assert.equal((await onlyStream(proxy)).code, "");
      connection.destroy();
    });
  });

  test("what comes at once, with the end behind it, waits for the connection", async () => {
    await withStreams(echo, async (proxy) => {
      for (const text of ["", "all at once", "x".repeat(300_000)]) {
        const connection = await connectRaw(proxy.port());
        if (text !== "") connection.send(text);
        connection.end();
        assert.equal(await connection.closed(), text);
        connection.destroy();
      }
      assert.deepEqual(await codesOf(proxy, 3), ["", "", ""]);
    });
  });

  test("the upstream ends first: the other direction goes on", async () => {
    await withStreams(
      (socket) => void socket.end("bye"),
      async (proxy, upstream) => {
        const connection = await connectRaw(proxy.port());
        assert.equal(await connection.closed(), "bye");
        connection.send("still here");
        await until(() => upstream.received[0] === "still here");
        connection.end();
        assert.equal((await onlyStream(proxy)).code, "");
        await until(() => upstream.open === 0);
        connection.destroy();
      },
    );
  });

  test("either side breaks off: so does the other", async () => {
    const breaking = (socket: net.Socket): void => {
      socket.on("data", () => socket.resetAndDestroy());
    };
    await withStreams(breaking, async (proxy, upstream) => {
      const first = await connectRaw(proxy.port());
      first.send("break");
      await first.closed();
      const [stream] = await seenStreams(proxy);
      assert.equal(stream?.code, "upstream_aborted");
      assert.match(
        stream?.failure ?? "",
        /^upstream_aborted .* at endpoint 127\.0\.0\.1:\d+, service default\/up, route default\/streams/,
      );
      const second = await connectRaw(proxy.port());
      await until(() => upstream.connections === 2);
      second.reset();
      assert.deepEqual(await codesOf(proxy, 2), ["upstream_aborted", "downstream_reset"]);
      await until(() => upstream.open === 0);
    });
  });

  test("a downstream that is gone before the upstream is connected leaves nothing behind", async () => {
    await withStreams(echo, async (proxy) => {
      for (let i = 0; i < 20; i++) (await connectRaw(proxy.port())).reset();
      await seenStreams(proxy, 20);
      await until(() => proxy.observer.upstreamConnections === 0 && proxy.observer.connections === 0);
    });
  });

  test("back-pressure both ways: who does not read stops the other side", async () => {
    const piece = Buffer.alloc(64 * 1024, "y");
    let written = 0;
    const pouring = (socket: net.Socket): void => {
      const more = (): void => {
        while (socket.writable && socket.write(piece)) written += piece.length;
        written += piece.length;
        socket.once("drain", more);
      };
      more();
      socket.pause();
    };
    await withStreams(pouring, async (proxy) => {
      const connection = net.connect(proxy.port(), "127.0.0.1");
      connection.on("error", () => {});
      connection.pause();
      let said = 0;
      for (let i = 0; i < 1_024 && connection.write(piece); i++) said += piece.length;
      let before = -1;
      let still = 0;
      await until(() => {
        still = written > 0 && written === before ? still + 1 : 0;
        before = written;
        return still > 20;
      });
      assert.ok(written < 64 * 1024 * 1024, `${written} bytes`);
      assert.ok(said < 64 * 1024 * 1024, `${said} bytes`);
      connection.destroy();
    });
  });

  test("100 MB for a slow reader arrive whole, and the proxy holds no more of them than its buffers", async () => {
    const [pieces, piece] = [1_600, Buffer.alloc(64 * 1024)];
    for (let i = 0; i < piece.length; i++) piece[i] = i % 251;
    const pouring = (socket: net.Socket): void => {
      let left = pieces;
      const more = (): void => {
        while (left > 0) {
          left--;
          if (!socket.write(piece)) break;
        }
        if (left === 0) socket.end();
        else socket.once("drain", more);
      };
      socket.once("data", more);
      socket.on("end", () => {});
    };
    await withStreams(pouring, async (proxy) => {
      const connection = net.connect({ port: proxy.port(), host: "127.0.0.1", allowHalfOpen: true });
      let heard = 0;
      let wrong = 0;
      let behind = 0;
      connection.on("data", (chunk) => {
        for (let i = 0; i < chunk.length; i += 4_099) if (chunk[i] !== ((heard + i) % piece.length) % 251) wrong++;
        heard += chunk.length;
        for (const { sentBytes } of proxy.observer.liveStreams) behind = Math.max(behind, sentBytes - heard);
        connection.pause();
        setImmediate(() => connection.resume());
      });
      const ended = new Promise<void>((resolve) => connection.once("end", resolve));
      connection.write("go");
      await ended;
      assert.deepEqual([heard, wrong], [pieces * piece.length, 0]);
      // Most of it is in the kernel's buffers.
      assert.ok(behind > 0 && behind < 24 * 1024 * 1024, `${behind} bytes`);
      connection.end();
      assert.equal((await onlyStream(proxy)).sentBytes, pieces * piece.length);
    });
  });

  test("nothing moves for the idle time, of the route or else of the listener: closed; what moves stays", async () => {
    const times = { ...DEFAULT_DOWNSTREAM_TIMES, tunnelIdleMs: 1_500 };
    const listeners = [tcpListener({ times }), tcpListener({ times, name: "default/edge/short" })];
    const routes = [tcpRoute(), tcpRoute({ listener: "short", idleMs: 300 }, "short")];
    const body = async (proxy: Parameters<Parameters<typeof withStreams>[1]>[0]): Promise<void> => {
      const busy = await connectRaw(proxy.port("default/edge/db"));
      const timer = setInterval(() => busy.send("."), 50);
      const quiet = await connectRaw(proxy.port("default/edge/short"));
      await quiet.closed();
      assert.equal(busy.isClosed, false);
      clearInterval(timer);
      await busy.closed();
      const streams = await seenStreams(proxy, 2);
      assert.deepEqual(
        streams.map(({ code, route }) => `${code} ${route}`),
        ["stream_idle default/short", "stream_idle default/streams"],
      );
    };
    await withStreams(echo, body, { listeners, routes });
  });
});

describe("TCP streams: where they go", () => {
  test("a connect that fails is tried elsewhere; when all fail, the last reason is told", async () => {
    const upstream = await startEcho();
    const dead = [await freePort(), await freePort()];
    await withProxy(tcpParts([...dead, upstream.port]), async (proxy) => {
      for (let i = 0; i < 6; i++) {
        const connection = await connectRaw(proxy.port());
        connection.send("hi");
        connection.end();
        assert.equal(await connection.closed(), "hi");
        connection.destroy();
      }
      const tries = (await seenStreams(proxy, 6)).map(({ attempts }) => attempts);
      assert.ok(Math.max(...tries) > 1, `${tries}`);
    });
    await upstream.stop();
    await withProxy(tcpParts(dead), async (proxy) => {
      const connection = await connectRaw(proxy.port());
      await connection.closed();
      const stream = await onlyStream(proxy);
      assert.deepEqual([stream.code, stream.attempts], ["connect_failed", 2]);
      assert.match(stream.failure, /at endpoint 127\.0\.0\.1:\d+, service default\/up, route default\/streams/);
    });
  });

  test("connecting takes too long: given up, and the socket with it", async () => {
    const silent = await startRawUpstream(() => {});
    const tls = { serverName: "a", caPem: undefined, verify: false, certificatePem: undefined, keyPem: undefined };
    const limits = { ...DEFAULT_UPSTREAM_LIMITS, connectMs: 200 };
    const services = [serviceOf("up", { limits, tls: { ...tls, minVersion: "TLSv1.2" } })];
    await withProxy(tcpParts([silent.port], { services }), async (proxy) => {
      await (await connectRaw(proxy.port())).closed();
      assert.equal((await onlyStream(proxy)).code, "connect_timeout");
      await until(() => silent.open === 0);
    });
    await silent.stop();
  });

  test("backends share by weight, subsets by labels; without a backend or an endpoint it is closed", async () => {
    const [one, two] = [await startRawUpstream((s) => s.end("1")), await startRawUpstream((s) => s.end("2"))];
    const backend = (service: string, weight: number, subset?: string) => ({ service: `default/${service}`, subset, weight });
    const endpoint = (port: number, age: string) => ({
      ...{ address: { kind: "tcp", host: "127.0.0.1", port } as const, weight: 1, labels: { age } },
    });
    const parts = {
      services: [serviceOf("up"), serviceOf("other"), serviceOf("aged", { subsets: [{ name: "old", labels: { age: "old" } }] })],
      endpoints: [
        endpointsOf("up", [one.port]),
        endpointsOf("other", [two.port]),
        { service: "default/aged", endpoints: [endpoint(one.port, "new"), endpoint(two.port, "old")] },
      ],
    };
    const heard = async (proxy: { port(): number }): Promise<string> => {
      const connection = await connectRaw(proxy.port());
      const text = await connection.closed();
      connection.reset();
      return text;
    };
    const route = (...backends: ReturnType<typeof backend>[]) => ({ ...tcpParts([], parts), routes: [tcpRoute({ backends })] });
    await withProxy(route(backend("up", 3), backend("other", 1)), async (proxy) => {
      const counts = new Map<string, number>();
      for (let i = 0; i < 60; i++) {
        const text = await heard(proxy);
        counts.set(text, (counts.get(text) ?? 0) + 1);
      }
      const [many, few] = [counts.get("1") ?? 0, counts.get("2") ?? 0];
      assert.ok(many > few && few > 3 && many + few === 60, JSON.stringify([...counts]));
    });
    await withProxy(route(backend("aged", 1, "old")), async (proxy) => {
      for (let i = 0; i < 5; i++) assert.equal(await heard(proxy), "2");
    });
    await withProxy(route(backend("up", 0)), async (proxy) => {
      assert.equal(await heard(proxy), "");
      assert.equal((await onlyStream(proxy)).code, "no_backend");
    });
    await withProxy({ ...tcpParts([]) }, async (proxy) => {
      assert.equal(await heard(proxy), "");
      assert.equal((await onlyStream(proxy)).code, "no_endpoint");
    });
    await withProxy({ ...tcpParts([one.port]), routes: [] }, async (proxy) => {
      assert.equal(await heard(proxy), "");
      assert.match((await onlyStream(proxy)).failure, /^no_route at listener default\/edge\/db/);
    });
    await Promise.all([one.stop(), two.stop()]);
  });

  test("limits: connections of the listener, connections to an endpoint", async () => {
    const body = async (proxy: Parameters<Parameters<typeof withStreams>[1]>[0]): Promise<void> => {
      const first = await connectRaw(proxy.port());
      first.send("a");
      await first.until("a");
      const second = await connectRaw(proxy.port());
      await second.closed();
      const stream = await onlyStream(proxy);
      assert.equal(stream.code, "pool_overflow");
      const third = await connectRaw(proxy.port());
      await third.closed();
      assert.equal((await codesOf(proxy, 2))[1], "pool_overflow");
      first.end();
      await first.closed();
      await until(() => proxy.observer.liveStreams.size === 0);
      const fourth = await connectRaw(proxy.port());
      fourth.send("d");
      await fourth.until("d");
      fourth.destroy();
    };
    const limits = { ...DEFAULT_UPSTREAM_LIMITS, connectionsPerEndpoint: 1 };
    await withStreams(echo, body, { services: [serviceOf("up", { limits })] });
    await withStreams(
      echo,
      async (proxy) => {
        const open = [await connectRaw(proxy.port()), await connectRaw(proxy.port())];
        for (const each of open) each.send("a");
        for (const each of open) await each.until("a");
        await (await connectRaw(proxy.port())).closed();
        assert.deepEqual(proxy.observer.connectionFailures, ["overloaded"]);
        for (const each of open) each.destroy();
      },
      { listeners: [tcpListener({ maxConnections: 2 })] },
    );
  });
});

describe("TCP streams: reload and drain", () => {
  const alive = async (connection: Awaited<ReturnType<typeof connectRaw>>, text: string): Promise<void> => {
    connection.send(text);
    await connection.until(text);
  };

  test("a reload that does not concern a stream lets it live; one that takes its route or listener away closes it", async () => {
    await withStreams(echo, async (proxy, upstream) => {
      const parts = tcpParts([upstream.port]);
      const connection = await connectRaw(proxy.port());
      await alive(connection, "first");
      const more = routeOf("web", [ruleOf({ action: { kind: "respond", status: 200, headers: [], body: "" } })]);
      const web = listenerOf();
      await proxy.apply(snapshotOf({ ...parts, routes: [tcpRoute({ idleMs: 60_000 }), more] }));
      await alive(connection, "second");
      // Another service: who is connected stays, who comes is told of the new one.
      const other = await startRawUpstream((socket) => socket.end("other"));
      const services = [serviceOf("other"), serviceOf("up")];
      const endpoints = [endpointsOf("other", [other.port]), endpointsOf("up", [])];
      const backends = [{ service: "default/other", subset: undefined, weight: 1 }];
      await proxy.apply(snapshotOf({ ...parts, services, endpoints, routes: [tcpRoute({ backends })] }));
      await alive(connection, "third");
      const late = await connectRaw(proxy.port());
      assert.equal(await late.closed(), "other");
      late.reset();
      await codesOf(proxy);
      await proxy.apply(snapshotOf({ ...parts, routes: [tcpRoute({}, "another")] }));
      await connection.closed();
      assert.match((await seenStreams(proxy, 2))[1]?.failure ?? "", /^no_route \(the route of this stream is gone\)/);
      const next = await connectRaw(proxy.port());
      await alive(next, "fourth");
      await proxy.apply(snapshotOf({ ...parts, listeners: [web], routes: [more] }));
      await next.closed();
      assert.equal((await codesOf(proxy, 3))[2], "no_route");
      await other.stop();
    });
  });

  test("streams that come while the listener's first generation is being made go their way", async () => {
    const upstream = await startEcho();
    const port = await freePort();
    const address = { kind: "tcp", host: "127.0.0.1", port } as const;
    await withProxy({ ...tcpParts([upstream.port]), listeners: [] }, async (proxy) => {
      const dial = (): Promise<string> =>
        connectRaw(port).then(
          async (connection) => {
            connection.send("hi");
            connection.end();
            const heard = await connection.closed();
            connection.destroy();
            return heard;
          },
          () => "refused",
        );
      let applied = false;
      const heard = new Set<string>();
      const knocking = (async () => {
        while (!applied || !heard.has("hi")) heard.add(await dial());
      })();
      await proxy.apply(snapshotOf({ ...tcpParts([upstream.port]), listeners: [tcpListener({ address })] }));
      applied = true;
      await knocking;
      heard.delete("refused");
      assert.deepEqual([...heard], ["hi"]);
    });
    await upstream.stop();
  });

  test("drain: nobody new, streams last, and cut when their time is over", async () => {
    await withStreams(echo, async (proxy, upstream) => {
      const mesh = { ...snapshotOf().mesh, drain: { graceMs: 100, tunnelGraceMs: 2_000 } };
      await proxy.apply(snapshotOf({ ...tcpParts([upstream.port]), mesh }));
      const [short, long] = [await connectRaw(proxy.port()), await connectRaw(proxy.port())];
      await alive(short, "a");
      await alive(long, "b");
      const port = proxy.port();
      const drained = proxy.proxy.drain();
      await until(() =>
        connectRaw(port).then(
          () => false,
          () => true,
        ),
      );
      await alive(long, "still");
      short.end();
      assert.equal(await short.closed(), "a");
      await long.closed();
      await drained;
      assert.deepEqual(await codesOf(proxy, 2), ["", "downstream_reset"]);
    });
  });
});
