import assert from "node:assert/strict";
import net from "node:net";
import type { ListenerConfig } from "../../src/config/snapshot.ts";
import { DEFAULT_DOWNSTREAM_TIMES, DEFAULT_HTTP_LIMITS, type DownstreamTimes, type HttpLimits } from "../../src/core/limits.ts";
import { CLOSE, GET, judge, withProxy, withUpstream } from "../kit/end-to-end.ts";
import { connectRaw, okText, type RawUpstream, sayRaw, startUpstream } from "../kit/raw.ts";
import { forwardTo, listenerOf, routeOf, ruleOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

// Every limit at its edge: the last that passes, the first that does not, and what that one is told.

const listen = (limits: Partial<HttpLimits>, times: Partial<DownstreamTimes> = {}, more: Partial<ListenerConfig> = {}) => ({
  listeners: [
    listenerOf({ limits: { ...DEFAULT_HTTP_LIMITS, ...limits }, times: { ...DEFAULT_DOWNSTREAM_TIMES, ...times }, ...more }),
  ],
});

const ok = (): Promise<RawUpstream> => startUpstream(() => okText("ok"));

/** A request with these fields besides Host. */
const withFields = (fields: readonly string[]): string =>
  `GET / HTTP/1.1\r\nhost: a\r\n${CLOSE}${fields.map((each) => `${each}\r\n`).join("")}\r\n`;

const chunked = (body: string, end = "0\r\n\r\n"): string =>
  `POST / HTTP/1.1\r\nhost: a\r\n${CLOSE}transfer-encoding: chunked\r\n\r\n${body}${end}`;

interface Edge {
  readonly what: string;
  readonly limits: Partial<HttpLimits>;
  /** By how much it is beyond the limit: 0 passes, 1 does not. */
  readonly request: (beyond: number) => string;
  readonly answer: string;
}

const EDGES: readonly Edge[] = [
  {
    what: "request line",
    limits: { requestLineBytes: 100 },
    request: (beyond) => GET.replace("/", `/${"x".repeat(100 - "GET / HTTP/1.1".length + beyond)}`),
    answer: "414 uri_too_long",
  },
  {
    what: "header count",
    limits: { headerCount: 10 },
    request: (beyond) => withFields(new Array(8 + beyond).fill("x: y")),
    answer: "431 headers_too_large",
  },
  {
    what: "header field",
    limits: { headerFieldBytes: 200 },
    request: (beyond) => withFields([`x: ${"y".repeat(197 + beyond)}`]),
    answer: "431 headers_too_large",
  },
  {
    what: "declared body",
    limits: { bodyBytes: 10 },
    request: (beyond) => `POST / HTTP/1.1\r\nhost: a\r\n${CLOSE}content-length: ${10 + beyond}\r\n\r\n${"x".repeat(10 + beyond)}`,
    answer: "413 body_too_large",
  },
  {
    what: "chunked body",
    limits: { bodyBytes: 10 },
    request: (beyond) => chunked(`5\r\nabcde\r\n${5 + beyond}\r\n${"x".repeat(5 + beyond)}\r\n`),
    answer: "413 body_too_large",
  },
  {
    what: "chunk extensions",
    limits: { chunkExtensionBytes: 20 },
    // What stands behind the semicolon counts.
    request: (beyond) => chunked(`1;a=${"x".repeat(18 + beyond)}\r\nx\r\n`),
    answer: "400 bad_chunk",
  },
];

describe("limits at their edge", () => {
  for (const { what, limits, request, answer } of EDGES) {
    test(`${what}: ${answer}`, async () => {
      const upstream = await ok();
      await withUpstream(
        upstream,
        async (proxy) => {
          assert.equal(judge(await sayRaw(proxy.port(), request(0))), "200");
          assert.equal(judge(await sayRaw(proxy.port(), request(1))), answer);
          const [, refused] = await proxy.seen(2);
          assert.deepEqual([refused?.status, refused?.flag], [Number(answer.slice(0, 3)), "DPE"]);
        },
        listen(limits),
      );
    });
  }

  test("header section: one byte more is 431, whatever it is made of", async () => {
    await withUpstream(
      await ok(),
      async (proxy) => {
        const of = (bytes: number): string => {
          const text = withFields(["a: b"]);
          return text.replace("a: b", `a: ${"b".repeat(1 + bytes - text.length)}`);
        };
        // The section alone: neither the request line nor the empty one.
        const edge = 500 + "GET / HTTP/1.1\r\n".length + 2;
        assert.equal(judge(await sayRaw(proxy.port(), of(edge))), "200");
        assert.equal(judge(await sayRaw(proxy.port(), of(edge + 1))), "431 headers_too_large");
      },
      listen({ headerSectionBytes: 500 }),
    );
  });

  test("trailers: 431 before the answer's head", async () => {
    await withUpstream(
      await startUpstream(({ body }) => okText(body)),
      async (proxy) => {
        const of = (bytes: number): string => chunked("1\r\nx\r\n", `0\r\nx-t: ${"y".repeat(bytes)}\r\n\r\n`);
        assert.equal(judge(await sayRaw(proxy.port(), of(80))), "200");
        assert.equal(judge(await sayRaw(proxy.port(), of(120))), "431 headers_too_large");
      },
      listen({ trailerSectionBytes: 100 }),
    );
  });

  test("a rule's body limit: declared and chunked, 413, and the upstream never takes it for whole", async () => {
    const upstream = await ok();
    await withUpstream(
      upstream,
      async (proxy) => {
        const declared = (size: number): string =>
          `POST / HTTP/1.1\r\nhost: a\r\n${CLOSE}content-length: ${size}\r\n\r\n${"x".repeat(size)}`;
        assert.equal(judge(await sayRaw(proxy.port(), declared(10))), "200");
        assert.equal(judge(await sayRaw(proxy.port(), declared(11))), "413 body_too_large");
        assert.equal(judge(await sayRaw(proxy.port(), chunked("a\r\n0123456789\r\n"))), "200");
        const connection = await connectRaw(proxy.port());
        connection.send(chunked("5\r\n01234\r\n", ""));
        await until(() => upstream.received.join("").includes("01234\r\n"));
        connection.send("6\r\n567890\r\n0\r\n\r\n");
        assert.equal(judge(await connection.closed()), "413 body_too_large");
        connection.destroy();
        await until(() => upstream.open <= 1);
        assert.ok(!upstream.received.at(-1)?.endsWith("0\r\n\r\n"));
      },
      { routes: [routeOf("r", [forwardTo("up", { maxBodyBytes: 10 })])] },
    );
  });

  test("pipelined requests: as many as may wait are taken, the rest stays in the socket; all are answered", async () => {
    const release: (() => void)[] = [];
    const upstream = await startUpstream((_request, socket) => {
      release.push(() => socket.write(okText("ok")));
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const socket = net.connect(proxy.port(), "127.0.0.1");
        let answers = 0;
        socket.on("data", (chunk: Buffer) => {
          answers += chunk.toString("latin1").split("HTTP/1.1 200").length - 1;
        });
        socket.on("error", () => {});
        const request = `GET / HTTP/1.1\r\nhost: a\r\nx: ${"y".repeat(1_000)}\r\n\r\n`;
        for (let i = 0; i < 40_000; i++) socket.write(request);
        await until(() => release.length === 1);
        // The kernel's buffers take some megabytes; the proxy no more than it must.
        let [before, still] = [-1, 0];
        await until(() => {
          still = socket.writableLength === before ? still + 1 : 0;
          before = socket.writableLength;
          return still > 20;
        });
        assert.ok(socket.writableLength > 10_000_000, `${socket.writableLength} bytes are left`);
        const timer = setInterval(() => {
          for (const each of release.splice(0)) each();
        }, 1);
        await until(() => answers > 50);
        clearInterval(timer);
        socket.destroy();
        for (const each of release.splice(0)) each();
      },
      listen({ pipelinedRequests: 4 }),
    );
  });

  test("exchanges per connection: the last one says so and closes", async () => {
    await withUpstream(
      await ok(),
      async (proxy) => {
        const heard = await sayRaw(proxy.port(), GET.replace(CLOSE, "").repeat(5));
        assert.equal(heard.split("HTTP/1.1 200").length - 1, 3);
        assert.equal(heard.split(/connection: close/i).length - 1, 1);
        assert.match(heard, /connection: close\r\n[\s\S]*ok$/i);
      },
      listen({ exchangesPerConnection: 3 }),
    );
  });

  test("connections: one more is closed at once, and there is room again when one goes", async () => {
    await withUpstream(
      await ok(),
      async (proxy) => {
        const [first, second] = [await connectRaw(proxy.port()), await connectRaw(proxy.port())];
        await until(() => proxy.observer.connections === 2);
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "nothing");
        assert.deepEqual(proxy.observer.connectionFailures, ["overloaded"]);
        first.reset();
        await until(() => proxy.observer.connections === 1);
        assert.equal(judge(await sayRaw(proxy.port(), GET)), "200");
        second.reset();
      },
      listen({}, {}, { maxConnections: 2 }),
    );
  });
});

describe("times", () => {
  test("an idle connection is closed without a word; one that never asked as well", async () => {
    await withUpstream(
      await ok(),
      async (proxy) => {
        const [kept, silent] = [await connectRaw(proxy.port()), await connectRaw(proxy.port())];
        kept.send(GET.replace(CLOSE, ""));
        assert.match(await kept.closed(), /\r\n\r\nok$/);
        assert.equal(await silent.closed(), "");
        kept.destroy();
        silent.destroy();
      },
      listen({}, { keepAliveIdleMs: 500, headerMs: 2_000 }),
    );
  });

  test("a body below the minimum rate: 408, above it: served", async () => {
    await withUpstream(
      await startUpstream(({ body }) => okText(body)),
      async (proxy) => {
        const trickle = async (piece: number): Promise<string> => {
          const connection = await connectRaw(proxy.port());
          // The slow one would never come to its end; the fast one takes longer than the grace time.
          const pieces = piece === 1 ? 100_000 : 20;
          connection.send(`POST / HTTP/1.1\r\nhost: a\r\n${CLOSE}content-length: ${piece * pieces}\r\n\r\n${"x".repeat(piece)}`);
          let sent = 1;
          const timer = setInterval(() => {
            if (sent++ < pieces) connection.send("x".repeat(piece));
          }, 100);
          const heard = await connection.closed();
          clearInterval(timer);
          connection.destroy();
          return judge(heard);
        };
        assert.deepEqual(await Promise.all([trickle(1), trickle(4_000)]), ["408 request_timeout", "200"]);
        const slow = proxy.observer.exchanges.find(({ status }) => status === 408);
        assert.equal(slow?.flag, "DT");
      },
      listen({}, { bodyMinBytesPerSecond: 1_000, bodyGraceMs: 1_500 }),
    );
  });

  test("a downstream that does not take its answer is reset after the write time-out", async () => {
    const upstream = await startUpstream((_request, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${64 * 1024 * 1024}\r\n\r\n`);
      socket.write("x".repeat(64 * 1024 * 1024));
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.pause();
        connection.send(GET);
        assert.equal((await proxy.seen())[0]?.code, "downstream_reset");
        await until(() => upstream.open === 0);
        connection.destroy();
      },
      listen({}, { writeStallMs: 300 }),
    );
  });

  test("slowloris: hundreds of slow heads and bodies leave others alone, and each gets its 408", async () => {
    await withUpstream(
      await ok(),
      async (proxy) => {
        const slow = await Promise.all(
          Array.from({ length: 300 }, async (_, i) => {
            const connection = await connectRaw(proxy.port());
            connection.send(i % 2 === 0 ? "GET / HTTP/1.1\r\nhost:" : "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n1");
            return connection;
          }),
        );
        const timer = setInterval(() => {
          for (let i = 0; i < slow.length; i += 2) slow[i]?.send("x");
        }, 100);
        for (let i = 0; i < 50; i++) assert.equal(judge(await sayRaw(proxy.port(), GET)), "200");
        const heard = await Promise.all(slow.map((connection) => connection.closed()));
        clearInterval(timer);
        for (const each of heard) assert.equal(judge(each), "408 request_timeout");
        for (const connection of slow) connection.destroy();
      },
      listen({}, { headerMs: 2_000, bodyIdleMs: 2_000 }),
    );
  });
});

describe("answers of the proxy itself", () => {
  const ANSWERS: readonly (readonly [string, string])[] = [
    ["GET /nowhere HTTP/1.1\r\nhost: b\r\n\r\n", "404 no_route NR"],
    ["GET / HTTP/1.1\r\nhost: a\r\nexpect: magic\r\n\r\n", "417 expectation_failed DPE"],
    ["POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501 coding_not_implemented DPE"],
    ["POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\n", "400 bad_framing DPE"],
    ["GET / HTTP/3.0\r\nhost: a\r\n\r\n", "505 version_not_supported DPE"],
    ["GET / HTTP/1.1\r\n\r\n", "400 bad_host DPE"],
    ["GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "400 bad_host DPE"],
    ["GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n", "400 bad_path DPE"],
    ["GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n", "400 bad_path DPE"],
    ["CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", "405 connect_refused DPE"],
    ["GET /closed HTTP/1.1\r\nhost: a\r\n\r\n", "503 maintenance MM"],
    ["GET /none HTTP/1.1\r\nhost: a\r\n\r\n", "500 no_backend NC"],
  ];
  const on = (value: string) => ({ matches: [{ path: { kind: "exact", value } as const, methods: [], headers: [], query: [] }] });
  const routes = [
    routeOf(
      "r",
      [
        ruleOf({ name: "m", ...on("/closed"), action: { kind: "maintenance", retryAfterSeconds: 7, body: undefined } }),
        ruleOf({ name: "n", ...on("/none"), action: { kind: "forward", backends: [], rewrite: undefined, upgrades: [] } }),
        forwardTo("up"),
      ],
      ["a"],
    ),
  ];

  test("each with its status, code, flag and request id; JSON or text by Accept", async () => {
    await withProxy({ routes }, async (proxy) => {
      for (const [request, expected] of ANSWERS) {
        for (const accept of ["application/json", "text/html"]) {
          const connection = await connectRaw(proxy.port());
          connection.send(request.replace("\r\n\r\n", `\r\naccept: ${accept}\r\n\r\n`));
          const heard = await connection.when((text) => /\r\n\r\n[\s\S]+\n$/.test(text));
          connection.reset();
          const seen = proxy.observer.exchanges.at(-1);
          assert.equal(`${judge(heard)} ${seen?.flag}`, expected);
          const [head, body] = heard.split("\r\n\r\n") as [string, string];
          assert.ok(seen !== undefined && seen.requestId !== "" && head.includes(`x-request-id: ${seen.requestId}`), heard);
          assert.ok(body.includes(seen.requestId) && body.includes(seen.code), body);
          // What the access log says of it.
          assert.equal(seen.responseBytes, body.length);
          assert.match(seen.failure, expected.startsWith("404") ? /^no_route$/ : /^\w+(?: \(.+\))?(?: at route default\/r)?$/);
          // What was no request had no Accept, either.
          if (head.includes("application/json")) assert.equal(JSON.parse(body).error.code, seen.code);
          else assert.equal(accept, "text/html");
        }
      }
    });
  });

  test("an answer to HEAD has no body, one to gRPC is trailers-only", async () => {
    await withProxy({ routes }, async (proxy) => {
      const head = await sayRaw(proxy.port(), `HEAD /closed HTTP/1.1\r\nhost: a\r\n${CLOSE}\r\n`);
      assert.match(head, /^HTTP\/1\.1 503 [\s\S]*retry-after: 7[\s\S]*\r\n\r\n$/);
      const grpc = await sayRaw(
        proxy.port(),
        `POST /closed HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n${CLOSE}\r\n`,
      );
      assert.match(grpc, /^HTTP\/1\.1 200 [\s\S]*grpc-status: 14\r\n[\s\S]*\r\n\r\n$/);
    });
  });
});
