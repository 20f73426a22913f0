import assert from "node:assert/strict";
import { DEFAULT_UPSTREAM_LIMITS } from "../../src/core/limits.ts";
import { SeededRng } from "../../src/core/rng.ts";
import { CLOSE, GET, judge, wholeBody, withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { endpointsOf, forwardTo, routeOf, serviceOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const limitsOf = (part: Partial<typeof DEFAULT_UPSTREAM_LIMITS>) => ({
  services: [serviceOf("up", { limits: { ...DEFAULT_UPSTREAM_LIMITS, ...part } })],
});

/** An upstream that answers each connection's first bytes with `bytes` and then closes (or, `reset`, breaks off). */
const answering = (bytes: () => string, then: "end" | "reset" | "stay" = "stay") =>
  startRawUpstream((socket) => {
    socket.once("data", () => {
      const text = bytes();
      const after = (): void => {
        if (then === "end") socket.end();
        else if (then === "reset") socket.resetAndDestroy();
      };
      if (text === "") after();
      else socket.write(Buffer.from(text, "latin1"), after);
    });
  });

describe("upstream: answers that are no answers", () => {
  const head = "HTTP/1.1 200 OK\r\n";
  const BAD: readonly (readonly [string, string, string])[] = [
    ["no HTTP", "hello\r\n\r\n", "502 upstream_protocol"],
    ["a request", "GET / HTTP/1.1\r\nhost: a\r\n\r\n", "502 upstream_protocol"],
    ["another version", "HTTP/2.0 200 OK\r\n\r\n", "502 upstream_protocol"],
    ["status of two digits", "HTTP/1.1 20 OK\r\n\r\n", "502 upstream_protocol"],
    ["bare LF", "HTTP/1.1 200 OK\nx: y\n\n", "502 upstream_protocol"],
    ["space before colon", `${head}x : y\r\n\r\n`, "502 upstream_protocol"],
    ["folded field", `${head}x: y\r\n z\r\n\r\n`, "502 upstream_protocol"],
    ["control byte in a value", `${head}x: a\x00b\r\n\r\n`, "502 upstream_protocol"],
    ["two lengths", `${head}content-length: 1\r\ncontent-length: 2\r\n\r\nab`, "502 upstream_protocol"],
    ["length and chunked", `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`, "502 upstream_protocol"],
    ["coding not last", `${head}transfer-encoding: chunked, gzip\r\n\r\n`, "502 upstream_protocol"],
    ["negative length", `${head}content-length: -1\r\n\r\n`, "502 upstream_protocol"],
    ["101 that nobody asked for", "HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", "502 upstream_protocol"],
    ["17 heads of 1xx", `${"HTTP/1.1 103 Hints\r\n\r\n".repeat(17)}${okText("x")}`, "502 upstream_protocol"],
    ["too many fields", `${head}${"x: y\r\n".repeat(300)}\r\n`, "502 upstream_too_large"],
    ["a field too large", `${head}x: ${"y".repeat(70_000)}\r\n\r\n`, "502 upstream_too_large"],
  ];
  for (const [what, bytes, expected] of BAD) {
    test(`${what}: ${expected}`, async () => {
      const upstream = await answering(() => bytes);
      await withUpstream(upstream, async (proxy) => {
        // 1xx that came before are the downstream's, too.
        const heard = (await sayRaw(proxy.port(), GET)).replace(/^(HTTP\/1\.1 103 [^\r]*\r\n\r\n)+/, "");
        assert.equal(judge(heard), expected);
        assert.notEqual(wholeBody(heard), undefined);
        await until(() => upstream.open === 0);
      });
    });
  }

  test("a malformed chunk or too large trailers behind the head: the answer is cut, not ended", async () => {
    const chunked = `${head}transfer-encoding: chunked\r\n\r\n`;
    for (const tail of [
      "2\r\nokXX",
      "zz\r\n",
      "2\r\nok\r\n0\r\nXX\r\n\r\n",
      `2\r\nok\r\n0\r\nx: ${"y".repeat(10_000)}\r\n\r\n`,
    ]) {
      const upstream = await answering(() => chunked + tail);
      await withUpstream(upstream, async (proxy) => {
        const heard = await sayRaw(proxy.port(), GET);
        assert.ok(judge(heard).startsWith("502") || wholeBody(heard) === undefined, JSON.stringify(heard));
        assert.match((await proxy.seen())[0]?.code ?? "", /^upstream_(protocol|too_large)$/);
      });
    }
  });

  test("an answer cut at every byte: a failure status or a cut connection, never a whole wrong answer", async () => {
    const answers = [
      `HTTP/1.1 200 OK\r\ncontent-length: 10\r\nx-a: b\r\n\r\n0123456789`,
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\nx-t: u\r\n\r\n`,
    ];
    for (const answer of answers) {
      for (const then of ["end", "reset"] as const) {
        let cut = 0;
        const upstream = await answering(() => answer.slice(0, cut), then);
        await withUpstream(upstream, async (proxy) => {
          for (cut = 0; cut < answer.length; cut++) {
            // Kept alive on purpose: only a cut connection or a failure may tell.
            const heard = await sayRaw(proxy.port(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n".replace("\r\n\r\n", `\r\n${CLOSE}\r\n`));
            if (!heard.startsWith("HTTP/1.1 502")) {
              assert.equal(wholeBody(heard), undefined, `${cut} of ${answer.length}, ${then}: ${JSON.stringify(heard)}`);
            } else assert.match(judge(heard), /^502 upstream_(reset|aborted)$/);
          }
          const seen = await proxy.seen(answer.length);
          assert.ok(seen.every((each) => each.code.startsWith("upstream_")));
          assert.equal(seen.length, answer.length);
        });
      }
    }
  });

  test("an answer that ends with its connection and is cut by a reset: an HTTP/1.0 downstream is reset as well", async () => {
    const upstream = await answering(() => "HTTP/1.0 200 OK\r\n\r\npart", "reset");
    await withUpstream(upstream, async (proxy) => {
      const net = await import("node:net");
      const error = await new Promise<string>((resolve) => {
        const socket = net.connect(proxy.port(), "127.0.0.1", () => socket.write("GET / HTTP/1.0\r\nhost: a\r\n\r\n"));
        socket.resume();
        socket.once("error", (cause: Error & { code?: string }) => resolve(cause.code ?? ""));
        socket.once("end", () => resolve("a peaceful end"));
      });
      assert.equal(error, "ECONNRESET");
    });
  });
});

/** Between two pieces of a body that trickles. */
const PIECE_MS = 300;

describe("upstream: time", () => {
  test("a head that trickles is bounded by the time for heads, 1xx or not", async () => {
    for (const drip of ["x", "HTTP/1.1 103 Hints\r\n\r\n"]) {
      const upstream = await startRawUpstream((socket) => {
        socket.once("data", () => {
          socket.write("HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 ");
          if (drip === "x") socket.write("200 OK\r\nx: ");
          else socket.write("103 Hints\r\n\r\n");
          const timer = setInterval(() => socket.write(drip), 60);
          socket.once("close", () => clearInterval(timer));
        });
      });
      await withUpstream(
        upstream,
        async (proxy) => {
          await sayRaw(proxy.port(), GET);
          assert.equal((await proxy.seen())[0]?.code, "upstream_timeout");
          assert.equal((await proxy.seen())[0]?.status, 504);
        },
        limitsOf({ responseHeadMs: 250 }),
      );
    }
  });

  test("a body that stops coming is cut off; one that trickles is not", async () => {
    const upstream = await startUpstream(({ head }, socket) => {
      const stops = head.includes("/stops");
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n");
      let sent = 0;
      const timer = setInterval(() => {
        if (stops && sent === 2) clearInterval(timer);
        else if (++sent <= 6) socket.write(String(sent));
        else clearInterval(timer);
      }, PIECE_MS);
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const [whole, cut] = await Promise.all([sayRaw(proxy.port(), GET), sayRaw(proxy.port(), GET.replace("/", "/stops"))]);
        assert.equal(wholeBody(whole), "123456");
        assert.ok(cut.endsWith("12"));
      },
      // All pieces together take longer than this.
      limitsOf({ responseIdleMs: 5 * PIECE_MS }),
    );
  });

  test("an upstream that does not take the body is given up", async () => {
    const upstream = await startRawUpstream((socket) => void socket.once("data", () => socket.pause()));
    await withUpstream(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 33554432\r\n\r\n");
        for (let i = 0; i < 32; i++) connection.send("x".repeat(1024 * 1024));
        await connection.until("upstream_timeout");
        connection.destroy();
      },
      limitsOf({ responseIdleMs: 300 }),
    );
  });
});

describe("upstream: connections", () => {
  test("who waits for a connection waits no longer than an answer may take", async () => {
    const upstream = await startUpstream(({ head }, socket) => {
      if (head.includes("/tunnel")) socket.write("HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const tunnel = await connectRaw(proxy.port());
        tunnel.send("GET /tunnel HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
        await tunnel.until("101");
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "504 upstream_timeout");
        assert.equal(proxy.observer.pending, 0);
        tunnel.reset();
      },
      limitsOf({ connectionsPerEndpoint: 1, responseHeadMs: 1_000 }),
    );
  });

  test("Keep-Alive says how long, timeout=0 not at all, observed closes teach", async () => {
    let field = "keep-alive: timeout=60\r\n";
    const upstream = await startUpstream(() => okText("x", field));
    await withUpstream(upstream, async (proxy) => {
      const pool = () => [...(proxy.proxy.core.generation?.services.get("default/up")?.pools.values() ?? [])][0];
      await sayRaw(proxy.port(), GET);
      await until(() => pool()?.idleConnections === 1);
      assert.equal(pool()?.idleMs, 48_000);
      field = "keep-alive: timeout=0\r\n";
      await sayRaw(proxy.port(), GET);
      await until(() => pool()?.idleConnections === 0);
      await until(() => upstream.open === 0);
    });
    const sockets: { end(): void }[] = [];
    const closing = await startUpstream((_request, socket) => {
      sockets.push(socket);
      return okText("x");
    });
    await withUpstream(closing, async (proxy) => {
      const pool = () => [...(proxy.proxy.core.generation?.services.get("default/up")?.pools.values() ?? [])][0];
      await sayRaw(proxy.port(), GET);
      sockets[0]?.end();
      await until(() => pool()?.connections === 0);
      assert.ok((pool()?.idleMs ?? 0) < DEFAULT_UPSTREAM_LIMITS.idleMs);
    });
  });

  test("a chunked answer with another one behind it: nobody who waits gets the planted one", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.on("data", () =>
        socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nreal\r\n0\r\n\r\n${okText("planted")}`),
      );
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const heard = await Promise.all(Array.from({ length: 6 }, () => sayRaw(proxy.port(), GET)));
        for (const each of heard) assert.equal(wholeBody(each), "real");
        assert.equal(upstream.connections, 6);
      },
      limitsOf({ connectionsPerEndpoint: 1 }),
    );
  });

  test("an answer before the request is complete: the connection is not used again", async () => {
    const upstream = await startRawUpstream((socket) => {
      socket.on("data", (chunk) => {
        if (chunk.includes("HTTP/1.1\r\n")) socket.write(okText("early"));
      });
    });
    await withUpstream(upstream, async (proxy) => {
      const connection = await connectRaw(proxy.port());
      connection.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nstart");
      await connection.until("early");
      connection.destroy();
      assert.equal(wholeBody(await sayRaw(proxy.port(), GET)), "early");
      assert.equal(upstream.connections, 2);
    });
  });

  test("exchanges that wait for a connection are served although a reload took their endpoint away", async () => {
    const release: (() => void)[] = [];
    const upstream = await startUpstream((_request, socket) => {
      release.push(() => socket.write(okText("served")));
      return undefined;
    });
    const limits = limitsOf({ connectionsPerEndpoint: 1 });
    await withUpstream(
      upstream,
      async (proxy) => {
        const answers = [sayRaw(proxy.port(), GET), sayRaw(proxy.port(), GET)];
        await until(() => release.length === 1 && proxy.observer.pending === 1);
        const { snapshotOf } = await import("../kit/snapshot.ts");
        await proxy.apply(
          snapshotOf({ routes: [routeOf("all", [forwardTo("up")])], ...limits, endpoints: [endpointsOf("up", [])] }),
        );
        release[0]?.();
        await until(() => release.length === 2);
        release[1]?.();
        for (const heard of await Promise.all(answers)) assert.equal(wholeBody(heard), "served");
      },
      limits,
    );
  });

  test("never two copies of a POST, whatever the upstream closes and when (seeded)", async () => {
    const rng = new SeededRng(20261121);
    const seen = new Map<string, number>();
    const upstream = await startRawUpstream((socket) => {
      let heard = "";
      socket.on("data", (chunk) => {
        heard += chunk.toString("latin1");
        for (;;) {
          const end = heard.indexOf("\r\n\r\n");
          const length = Number(/content-length: (\d+)/.exec(heard)?.[1] ?? 0);
          if (end < 0 || heard.length < end + 4 + length) {
            // In the middle of a request.
            if (heard !== "" && rng.below(6) === 0) socket.resetAndDestroy();
            return;
          }
          const path = heard.split(" ", 2).join(" ");
          seen.set(path, (seen.get(path) ?? 0) + 1);
          heard = heard.slice(end + 4 + length);
          const fate = rng.below(8);
          if (fate === 0) socket.resetAndDestroy();
          else if (fate === 1) socket.end();
          else if (fate === 2) socket.end(okText("ok"));
          else if (fate === 3) socket.end("HTTP/1.1 200 OK\r\ncontent-le");
          else {
            socket.write(okText("ok"));
            // Stale: closed right behind an answer.
            if (fate === 4) socket.end();
            if (fate === 5) setImmediate(() => socket.resetAndDestroy());
          }
          if (fate < 4) return;
        }
      });
    });
    await withUpstream(upstream, async (proxy) => {
      const answers: string[] = [];
      const run = async (client: number): Promise<void> => {
        for (let i = 0; i < 60; i++) {
          const post = rng.below(2) === 0;
          const name = `/${client}-${i}`;
          const body = "x".repeat(rng.below(3) * 700);
          const text = post
            ? `POST ${name} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n${CLOSE}\r\n${body}`
            : `GET ${name} HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`;
          answers.push(judge(await sayRaw(proxy.port(), text)));
        }
      };
      await Promise.all(Array.from({ length: 8 }, (_, client) => run(client)));
      for (const [path, copies] of seen) assert.ok(copies <= (path.startsWith("POST") ? 1 : 2), `${path}: ${copies} copies`);
      assert.ok(answers.filter((each) => each === "200").length > 200);
      assert.ok(
        [...seen].some(([path, copies]) => path.startsWith("GET") && copies === 2),
        "some GET was sent again",
      );
      assert.ok(
        answers.every((each) => /^(200|502 upstream_(reset|aborted)|nothing)$/.test(each)),
        [...new Set(answers)].join(),
      );
    });
  });
});
