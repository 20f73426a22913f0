import assert from "node:assert/strict";
import { DEFAULT_DOWNSTREAM_TIMES, DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { CLOSE, withUpstream as withProxy } from "../kit/end-to-end.ts";
import { freePort } from "../kit/ports.ts";
import type { TestProxy } from "../kit/proxy.ts";
import { connectRaw, okText, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { endpointsOf, forwardTo, listenerOf, routeOf, ruleOf, serviceOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const eventually = (test: () => boolean, what: string): Promise<void> => until(test).catch(() => assert.fail(`never: ${what}`));

describe("exchange: messages", () => {
  test("passes fields in order with duplicates, removes hop-by-hop ones, keeps the upstream connection", async () => {
    const upstream = await startUpstream(() =>
      okText("hi", "set-cookie: a=1\r\nset-cookie: b=2\r\nkeep-alive: timeout=30\r\nx-odd: \xe9\r\n"),
    );
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      for (let i = 0; i < 2; i++) {
        connection.send(
          "GET /a?b=c HTTP/1.1\r\nHost: Shop.example:8080\r\nAccept: x\r\nX-Two: 1\r\nX-Two: 2\r\nConnection: keep-alive, X-Hop\r\nX-Hop: no\r\nKeep-Alive: timeout=9\r\n\r\n",
        );
        await connection.until(new RegExp(`(hi[\\s\\S]*){${i + 1}}$`));
      }
      connection.destroy();
      assert.equal(upstream.connections, 1);
      const [first] = (upstream.received[0] as string).split("\r\n\r\n");
      const lines = (first as string).split("\r\n");
      assert.equal(lines[0], "GET /a?b=c HTTP/1.1");
      assert.match(lines[1] as string, /^host: shop\.example(:8080)?$/i);
      assert.deepEqual(
        lines.filter((line) => line.startsWith("x-two")),
        ["x-two: 1", "x-two: 2"],
      );
      assert.ok(!/x-hop|keep-alive/i.test(first as string), first as string);
      assert.match(connection.heard, /set-cookie: a=1\r\nset-cookie: b=2\r\n/);
      assert.match(connection.heard, /x-odd: \xe9\r\n/);
      assert.ok(!/keep-alive:/i.test(connection.heard));
    });
  });

  test("answers pipelined requests in order, whatever the upstream's pace", async () => {
    const upstream = await startUpstream(({ head }, socket) => {
      const path = head.split(" ")[1] as string;
      if (path !== "/slow") return okText(path);
      setTimeout(() => socket.write(okText(path)), 60);
      return undefined;
    });
    await withProxy(upstream, async (proxy) => {
      const one = (path: string, extra = "") => `GET ${path} HTTP/1.1\r\nhost: a\r\n${extra}\r\n`;
      const heard = await sayRaw(proxy.port(), `${one("/slow")}${one("/2")}${one("/3", CLOSE)}`);
      assert.deepEqual(
        [...heard.matchAll(/\r\n\r\n(\/slow|\/\d)/g)].map((match) => match[1]),
        ["/slow", "/2", "/3"],
      );
    });
  });

  test("passes bodies with a length and chunked ones with trailers, both ways", async () => {
    const upstream = await startUpstream(({ head, body }) =>
      head.startsWith("POST /chunked")
        ? `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\nx-sum: 7\r\n\r\n`
        : okText(body),
    );
    await withProxy(
      upstream,
      async (proxy) => {
        const plain = await sayRaw(proxy.port(), `POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n${CLOSE}\r\nhello`);
        assert.match(plain, /\r\ncontent-length: 5\r\n[\s\S]*\r\n\r\nhello$/);
        const chunked = await sayRaw(
          proxy.port(),
          `POST /chunked HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntransfer-encoding: chunked\r\n${CLOSE}\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nx-end: yes\r\n\r\n`,
        );
        assert.match(chunked, /abcdefg|abc[\s\S]*defg/);
        assert.match(chunked, /0\r\nx-sum: 7\r\n\r\n$/);
        assert.match(upstream.received.join(""), /0\r\nx-end: yes\r\n\r\n/);
      },
      { listeners: [listenerOf({ requestTrailers: ["x-end"] })] },
    );
  });

  test("relays 100 and 103 and only then the answer", async () => {
    const upstream = await startRawUpstream((socket) => {
      let heard = "";
      socket.on("data", (chunk) => {
        heard += chunk.toString("latin1");
        if (heard.endsWith("\r\n\r\n"))
          socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        if (heard.endsWith("body!")) socket.write(okText("done"));
      });
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n");
      await connection.until("link: </a>\r\n\r\n");
      assert.match(connection.heard, /^HTTP\/1\.1 100 [^\r]*\r\n\r\nHTTP\/1\.1 103/);
      assert.ok(!(upstream.received[0] as string).includes("body!"));
      connection.send("body!");
      await connection.until("done");
      connection.destroy();
    });
  });

  test("frames HEAD, 204 and 304 without a body", async () => {
    const upstream = await startUpstream(({ head }) => {
      if (head.startsWith("HEAD")) return "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n";
      if (head.includes("/204")) return "HTTP/1.1 204 No Content\r\n\r\n";
      return 'HTTP/1.1 304 Not Modified\r\netag: "x"\r\ncontent-length: 12\r\n\r\n';
    });
    await withProxy(upstream, async (proxy) => {
      const text =
        "HEAD /h HTTP/1.1\r\nhost: a\r\n\r\nGET /204 HTTP/1.1\r\nhost: a\r\n\r\nGET /304 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
      const heard = await sayRaw(proxy.port(), text);
      assert.deepEqual(
        [...heard.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1]),
        ["200", "204", "304"],
      );
      assert.match(heard, /content-length: 99/);
    });
  });

  test("serves HTTP/1.0 downstreams and upstreams that end their answer by closing", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => socket.end("HTTP/1.0 200 OK\r\n\r\nuntil the end"));
    });
    await withProxy(upstream, async (proxy) => {
      const old = await sayRaw(proxy.port(), "GET / HTTP/1.0\r\nhost: a\r\n\r\n");
      assert.match(old, /^HTTP\/1\.1 200 OK\r\n/);
      assert.ok(!/transfer-encoding/i.test(old) && old.endsWith("\r\n\r\nuntil the end"), old);
      const modern = await sayRaw(proxy.port(), `GET / HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`);
      assert.match(modern, /transfer-encoding: chunked\r\n[\s\S]*\r\nuntil the end\r\n0\r\n\r\n$/);
    });
  });

  test("refuses CONNECT, passes OPTIONS *", async () => {
    const upstream = await startUpstream(({ head }) => okText(head.split("\r\n")[0] as string));
    await withProxy(upstream, async (proxy) => {
      assert.match(await sayRaw(proxy.port(), "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n"), /^HTTP\/1\.1 405 /);
      assert.match(await sayRaw(proxy.port(), `OPTIONS * HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`), /OPTIONS \* HTTP\/1\.1$/);
    });
  });
});

describe("exchange: tunnels", () => {
  const upgrade =
    "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\nsec-websocket-version: 13\r\n\r\n";
  const accept = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

  test("carries bytes both ways and each half-close by itself", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => {
        socket.write(accept);
        socket.on("data", (chunk) => socket.write(`echo:${chunk}`));
        socket.on("end", () => socket.end("last words"));
      });
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send(upgrade);
      await connection.until("\r\n\r\n");
      assert.match(connection.heard, /^HTTP\/1\.1 101 [\s\S]*upgrade: websocket/i);
      connection.send("ping");
      await connection.until("echo:ping");
      connection.end();
      assert.match(await connection.closed(), /last words$/);
      connection.destroy();
    });
  });

  test("holds early bytes back until the upstream has agreed, and does not forward them when it declines", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => setTimeout(() => socket.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"), 40));
    });
    await withProxy(upstream, async (proxy) => {
      const heard = await sayRaw(proxy.port(), `${upgrade}GET /smuggled HTTP/1.1\r\nhost: evil\r\n\r\n`);
      assert.match(heard, /^HTTP\/1\.1 403 [\s\S]*\r\n\r\nno$/);
      assert.ok(!upstream.received.join("").includes("smuggled"), upstream.received.join(""));
    });
  });

  test("delivers early bytes after the upstream has agreed", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => {
        setTimeout(() => socket.write(accept), 40);
        socket.on("data", (chunk) => socket.write(`echo:${chunk}`));
      });
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send(`${upgrade}early`);
      await connection.until("echo:early");
      connection.destroy();
    });
  });

  test("treats an upgrade that the route does not allow as an ordinary request", async () => {
    const upstream = await startUpstream(({ head }) => okText(/upgrade/i.test(head) ? "upgrade" : "plain"));
    const action = {
      kind: "forward",
      backends: [{ service: "default/up", subset: undefined, weight: 1 }],
      rewrite: undefined,
      upgrades: [],
    } as const;
    await withProxy(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send(upgrade);
        await connection.until("plain");
        connection.destroy();
      },
      { routes: [routeOf("all", [ruleOf({ action })])] },
    );
  });
});

describe("exchange: routes that only serve upgrades", () => {
  test("a plain request gets 426 that says to what, and the connection goes on", async () => {
    const upstream = await startUpstream(() => okText("reached"));
    const action = {
      kind: "forward",
      backends: [{ service: "default/up", subset: undefined, weight: 1 }],
      rewrite: undefined,
      upgrades: ["websocket"],
      upgradeRequired: true,
    } as const;
    await withProxy(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        for (let i = 1; i <= 2; i++) {
          connection.send("GET /ws HTTP/1.1\r\nhost: a\r\n\r\n");
          await connection.until(new RegExp(`(upgrade_required"[\\s\\S]*){${i}}`));
        }
        assert.match(connection.heard, /^HTTP\/1\.1 426 Upgrade Required\r\n/);
        assert.match(connection.heard, /\r\nconnection: upgrade\r\nupgrade: websocket\r\n/);
        connection.destroy();
        assert.equal(upstream.received.join(""), "");
      },
      { routes: [routeOf("all", [ruleOf({ action })])] },
    );
  });
});

describe("exchange: when things go wrong", () => {
  test("forwards an answer that comes before the request is complete", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => socket.write("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig"));
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nstart");
      assert.match(await connection.closed(), /^HTTP\/1\.1 413 [\s\S]*big$/);
      connection.destroy();
    });
  });

  test("cuts the answer off when the upstream does, so that the downstream can tell", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npartial");
        setTimeout(() => socket.destroy(), 30);
      });
    });
    await withProxy(upstream, async (proxy) => {
      const heard = await sayRaw(proxy.port(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      assert.match(heard, /content-length: 100[\s\S]*partial$/);
      assert.equal((await proxy.seen())[0]?.code, "upstream_aborted");
    });
  });

  test("retries an idempotent request once on a stale connection, never a POST", async () => {
    const upstream = await startRawUpstream((socket, index) => {
      let count = 0;
      socket.on("data", (chunk) => {
        count++;
        // The first connection dies when it is asked a second time, without a byte of an answer.
        if (index === 0 && count === 2) socket.destroy();
        else if (chunk.toString("latin1").startsWith("POST") && index > 0) socket.destroy();
        else socket.write(okText(`connection ${index}`));
      });
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\n");
      await connection.until("connection 0");
      connection.send("GET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
      await connection.until("connection 1");
      connection.send("POST /3 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx");
      await connection.until("upstream_reset");
      connection.destroy();
      assert.equal(upstream.received.join("").split("POST /3").length, 2);
      const seen = await proxy.seen(3);
      assert.equal(seen[1]?.attempts, 2);
      assert.equal(seen[2]?.status, 502);
    });
  });

  test("goes to another endpoint when one does not accept, and says so when none does", async () => {
    const upstream = await startUpstream(() => okText("alive"));
    const deadPort = await freePort();
    await withProxy(
      upstream,
      async (proxy) => {
        for (let i = 0; i < 6; i++) {
          const body = "x".repeat(20_000);
          const heard = await sayRaw(
            proxy.port(),
            `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n${CLOSE}\r\n${body}`,
          );
          assert.match(heard, /alive$/);
        }
        const heard = await sayRaw(proxy.port(), `GET /dead HTTP/1.1\r\nhost: a\r\naccept: text/plain\r\n${CLOSE}\r\n`);
        assert.match(heard, /^HTTP\/1\.1 503 [\s\S]*code: connect_failed/);
      },
      {
        routes: [
          routeOf("dead", [
            forwardTo("dead", { matches: [{ path: { kind: "exact", value: "/dead" }, methods: [], headers: [], query: [] }] }),
            forwardTo("up", { name: "1" }),
          ]),
        ],
        services: [serviceOf("dead"), serviceOf("up", { balancing: "round-robin" })],
        endpoints: [endpointsOf("dead", [deadPort]), endpointsOf("up", [deadPort, upstream.port])],
      },
    );
  });

  test("times out: connect-less silence of an upstream, an exchange, a slow head, a slow body", async () => {
    const upstream = await startUpstream(() => undefined);
    const silent = serviceOf("up", { limits: { ...DEFAULT_UPSTREAM_LIMITS, responseHeadMs: 100 } });
    const patient = serviceOf("patient");
    const path = (value: string) => [{ path: { kind: "prefix", value } as const, methods: [], headers: [], query: [] }];
    const code = async (proxy: TestProxy, listener: string, text: string) =>
      /"code":"(\w+)"/.exec(await sayRaw(proxy.port(listener), text))?.[1];
    await withProxy(
      upstream,
      async (proxy) => {
        assert.equal(await code(proxy, "usual", "GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET"), "upstream_timeout");
        assert.equal(await code(proxy, "usual", `GET /b HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`), "exchange_timeout");
        assert.equal(await code(proxy, "hasty", "GET / HT"), "request_timeout");
        const slow = "POST /c HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc";
        assert.equal(await code(proxy, "hasty", slow), "request_timeout");
      },
      {
        listeners: [
          listenerOf({ name: "usual" }),
          listenerOf({ name: "hasty", times: { ...DEFAULT_DOWNSTREAM_TIMES, headerMs: 1_000, bodyIdleMs: 200 } }),
        ],
        routes: [
          routeOf("all", [
            forwardTo("patient", { name: "b", matches: path("/b"), timeoutMs: 120 }),
            forwardTo("patient", { name: "c", matches: path("/c") }),
            forwardTo("up"),
          ]),
        ],
        services: [silent, patient],
        endpoints: [endpointsOf("up", [upstream.port]), endpointsOf("patient", [upstream.port])],
      },
    );
  });

  test("answers bad bytes with 400, closes, and no byte of them reaches the upstream", async () => {
    const upstream = await startUpstream(() => okText("reached"));
    await withProxy(upstream, async (proxy) => {
      for (const bad of [
        "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\nhost: a\n\n",
        "GET /%00 HTTP/1.1\r\nhost: a\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
      ]) {
        const heard = await sayRaw(proxy.port(), `${bad}GET /second HTTP/1.1\r\nhost: a\r\n\r\n`);
        assert.match(heard, /^HTTP\/1\.1 400 /, JSON.stringify(bad));
        assert.equal(heard.split("HTTP/1.1 ").length, 2, heard);
      }
      assert.equal(upstream.received.join(""), "");
    });
  });

  test("does not reuse a connection on which more than the answer came", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.on("data", () => socket.write(`${okText("real")}${okText("planted")}`));
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      for (let i = 1; i <= 3; i++) {
        connection.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        await connection.until(new RegExp(`(real[\\s\\S]*){${i}}`));
      }
      connection.destroy();
      assert.ok(!connection.heard.includes("planted"));
      assert.equal(upstream.connections, 3);
    });
  });

  test("bounds what waits for a connection: the next one gets 503", async () => {
    const upstream = await startUpstream(() => undefined);
    const limits = { ...DEFAULT_UPSTREAM_LIMITS, connectionsPerEndpoint: 2, pendingPerEndpoint: 1 };
    await withProxy(
      upstream,
      async (proxy) => {
        const waiting = [];
        for (let i = 0; i < 3; i++) {
          const connection = await connectRaw(proxy.port());
          connection.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
          waiting.push(connection);
        }
        await eventually(() => upstream.connections === 2 && proxy.observer.pending === 1, "two connections, and one who waits");
        assert.match(await sayRaw(proxy.port(), `GET / HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`), /pool_overflow/);
        for (const connection of waiting) connection.reset();
        await eventually(() => proxy.observer.inFlight === 0, "all over");
      },
      { services: [serviceOf("up", { limits })] },
    );
  });

  test("notices that the downstream went away and gives the upstream's connection up", async () => {
    const upstream = await startUpstream(() => undefined);
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
      await eventually(() => upstream.received.join("").includes("abc"), "upstream has it");
      connection.destroy();
      await eventually(() => upstream.open === 0, "upstream connection closed");
      assert.equal((await proxy.seen())[0]?.code, "downstream_reset");
    });
  });
});

describe("exchange: back-pressure", () => {
  test("a downstream that does not read stops the upstream", async () => {
    const piece = "y".repeat(64 * 1024);
    let written = 0;
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 268435456\r\n\r\n");
        const more = (): void => {
          while (written < 268_435_456) {
            written += piece.length;
            if (!socket.write(piece)) {
              socket.once("drain", more);
              return;
            }
          }
        };
        more();
      });
    });
    await withProxy(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.pause();
      connection.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
      let before = -1;
      await eventually(() => {
        const still = written === before && written > 0;
        before = written;
        return still;
      }, "the upstream was stopped");
      assert.ok(written < 64 * 1024 * 1024, `${written} bytes were taken`);
      connection.destroy();
    });
  });

  test("an upstream that does not read stops the downstream", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => socket.pause());
    });
    await withProxy(upstream, async (proxy) => {
      const net = await import("node:net");
      const socket = net.connect(proxy.port(), "127.0.0.1");
      socket.on("error", () => {});
      socket.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 268435456\r\n\r\n");
      let written = 0;
      const piece = Buffer.alloc(64 * 1024);
      const more = (): void => {
        while (written < 268_435_456) {
          written += piece.length;
          if (!socket.write(piece)) {
            socket.once("drain", more);
            return;
          }
        }
      };
      more();
      let before = -1;
      await eventually(() => {
        const still = written === before;
        before = written;
        return still;
      }, "the downstream was stopped");
      assert.ok(written < 64 * 1024 * 1024, `${written} bytes were taken`);
      socket.destroy();
    });
  });
});
