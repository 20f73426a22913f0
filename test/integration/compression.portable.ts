import assert from "node:assert/strict";
import zlib from "node:zlib";
import type { CompressionConfig } from "../../src/config/snapshot.ts";
import { CLOSE, judge, wholeBody, withProxy, withUpstream } from "../kit/end-to-end.ts";
import { freePort } from "../kit/ports.ts";
import { connectRaw, okText, sayRaw, startRawUpstream, startUpstream } from "../kit/raw.ts";
import { endpointsOf, forwardTo, listenerOf, routeOf, ruleOf, serviceOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

const CONFIG: CompressionConfig = { algorithms: ["br", "gzip"], minBytes: 100, types: ["text/*", "application/json"], level: 5 };
const on = (part: Partial<CompressionConfig> = {}) => ({ listeners: [listenerOf({ compression: { ...CONFIG, ...part } })] });
const ask = (accept: string, method = "GET", path = "/"): string =>
  `${method} ${path} HTTP/1.1\r\nhost: a\r\naccept-encoding: ${accept}\r\n${CLOSE}\r\n`;
const field = (heard: string, name: string): string | undefined => new RegExp(`\r\n${name}: ([^\r]*)`).exec(heard)?.[1];
const TEXT = "All work and no play. ".repeat(5_000);
const html = (body: string, more = ""): string => okText(body, `content-type: text/html\r\n${more}`);

function decode(heard: string): string {
  const body = Buffer.from(wholeBody(heard) ?? "", "latin1");
  const coding = field(heard, "content-encoding");
  if (coding === "gzip") return zlib.gunzipSync(body).toString("latin1");
  if (coding === "br") return zlib.brotliDecompressSync(body).toString("latin1");
  return body.toString("latin1");
}

describe("compression through the proxy", () => {
  test("the best coding that both know; validators, ranges, Vary and HEAD are right", async () => {
    const upstream = await startUpstream(({ head }) => {
      if (head.startsWith("HEAD")) return `HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: ${TEXT.length}\r\n\r\n`;
      if (head.includes("/304")) return 'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n';
      if (head.includes("/png")) return okText(TEXT, "content-type: image/png\r\n");
      if (head.includes("/small")) return html("tiny");
      return html(TEXT, 'etag: "strong"\r\naccept-ranges: bytes\r\nvary: accept\r\n');
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        for (const [accept, coding] of [
          ["gzip", "gzip"],
          ["br;q=0.5, gzip", "gzip"],
          ["gzip, br", "br"],
          ["identity", undefined],
          ["gzip;q=0", undefined],
        ] as const) {
          const heard = await sayRaw(proxy.port(), ask(accept));
          assert.equal(field(heard, "content-encoding"), coding);
          assert.equal(decode(heard), TEXT);
          assert.equal(field(heard, "vary"), "accept, accept-encoding");
          assert.equal(field(heard, "etag"), coding === undefined ? '"strong"' : 'W/"strong"');
          assert.equal(field(heard, "accept-ranges"), coding === undefined ? "bytes" : undefined);
        }
        for (const path of ["/304", "/png", "/small"]) {
          const heard = await sayRaw(proxy.port(), ask("gzip", "GET", path));
          assert.equal(field(heard, "content-encoding"), undefined, path);
        }
        const head = await sayRaw(proxy.port(), ask("gzip", "HEAD"));
        assert.match(head, /vary: accept-encoding\r\n[\s\S]*\r\n\r\n$/);
        const old = await sayRaw(proxy.port(), ask("gzip").replace("HTTP/1.1", "HTTP/1.0"));
        assert.equal(zlib.gunzipSync(Buffer.from(old.slice(old.indexOf("\r\n\r\n") + 4), "latin1")).toString("latin1"), TEXT);
      },
      on(),
    );
  });

  test("what the proxy answers itself is compressed as well, failures included", async () => {
    const respond = { kind: "respond", status: 200, headers: [["content-type", "text/plain"]], body: TEXT } as const;
    const path = (value: string) => [{ path: { kind: "prefix", value } as const, methods: [], headers: [], query: [] }];
    await withProxy(
      {
        ...on({ minBytes: 0 }),
        routes: [routeOf("r", [forwardTo("up", { name: "d", matches: path("/dead") }), ruleOf({ action: respond })])],
        services: [serviceOf("up")],
        endpoints: [endpointsOf("up", [await freePort()])],
      },
      async (proxy) => {
        const heard = await sayRaw(proxy.port(), ask("gzip"));
        assert.equal(decode(heard), TEXT);
        const failed = await sayRaw(proxy.port(), ask("gzip", "GET", "/dead"));
        assert.equal(judge(failed), "503 connect_failed");
        assert.match(decode(failed), /connect_failed/);
        assert.deepEqual(
          (await proxy.seen(2)).map(({ status }) => status),
          [200, 503],
        );
      },
    );
  });

  test("an answer that trickles arrives as it trickles; events are not held up", async () => {
    let say: (text: string) => void = () => {};
    const upstream = await startUpstream(({ head }, socket) => {
      const type = head.includes("/events") ? "text/event-stream" : "text/plain";
      socket.write(`HTTP/1.1 200 OK\r\ncontent-type: ${type}\r\ntransfer-encoding: chunked\r\n\r\n`);
      say = (text) => void socket.write(text === "" ? "0\r\n\r\n" : `${text.length.toString(16)}\r\n${text}\r\n`);
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const events = await connectRaw(proxy.port());
        events.send(ask("gzip", "GET", "/events"));
        await events.until("\r\n\r\n");
        for (let i = 0; i < 3; i++) {
          say(`data: ${i}\n\n`);
          await events.until(`data: ${i}\n\n`);
        }
        say("");
        assert.equal(field(await events.closed(), "content-encoding"), undefined);
        events.destroy();
        const text = await connectRaw(proxy.port());
        text.send(ask("gzip", "GET", "/text"));
        await text.until("\r\n\r\n");
        // Each piece can be decoded before the next one is sent.
        let soFar = "";
        for (const piece of ["first", "second", "third"]) {
          say(piece);
          soFar += piece;
          await text.when((heard) => decodeSoFar(heard) === soFar);
        }
        say("");
        assert.equal(decode(await text.closed()), soFar);
        text.destroy();
      },
      on(),
    );
  });

  test("a slow reader stops the upstream; who goes away in the middle leaves nothing behind", async () => {
    let written = 0;
    const piece = Buffer.alloc(64 * 1024);
    for (let i = 0; i < piece.length; i++) piece[i] = (i * 7919) % 251;
    const upstream = await startRawUpstream((socket) => {
      socket.once("data", () => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1073741824\r\n\r\n");
        const more = (): void => {
          // Noise does not shrink, so back-pressure shows.
          do {
            for (let i = 0; i < piece.length; i += 4) piece.writeUInt32LE(Math.floor(Math.random() * 2 ** 32), i);
            written += piece.length;
          } while (socket.write(Buffer.from(piece)) && written < 512 * 1024 * 1024);
          socket.once("drain", more);
        };
        more();
      });
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        const connection = await connectRaw(proxy.port());
        connection.pause();
        connection.send(ask("gzip"));
        let [before, still] = [-1, 0];
        await until(() => {
          still = written === before && written > 0 ? still + 1 : 0;
          before = written;
          return still > 30;
        });
        assert.ok(written < 128 * 1024 * 1024, `${written} bytes`);
        connection.destroy();
        connection.reset();
        await until(() => upstream.open === 0 && proxy.observer.inFlight === 0);
        assert.equal((await proxy.seen())[0]?.code, "downstream_reset");
      },
      on({ level: 1 }),
    );
  });

  test("an upstream that breaks off: the encoded answer is cut, not ended", async () => {
    const upstream = await startUpstream((_request, socket) => {
      socket.write(`HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 999999\r\n\r\n${TEXT}`, () =>
        socket.destroy(),
      );
      return undefined;
    });
    await withUpstream(
      upstream,
      async (proxy) => {
        assert.equal(wholeBody(await sayRaw(proxy.port(), ask("gzip"))), undefined);
        assert.equal((await proxy.seen())[0]?.code, "upstream_aborted");
      },
      on(),
    );
  });
});

/** What of a chunked gzip answer can be decoded already. */
function decodeSoFar(heard: string): string {
  const end = heard.indexOf("\r\n\r\n");
  let bytes = "";
  for (let at = end + 4; end >= 0; ) {
    const line = heard.indexOf("\r\n", at);
    const size = line < 0 ? 0 : Number.parseInt(heard.slice(at, line), 16);
    if (size === 0) break;
    bytes += heard.slice(line + 2, line + 2 + size);
    at = line + 2 + size + 2;
  }
  try {
    return zlib.gunzipSync(Buffer.from(bytes, "latin1"), { finishFlush: zlib.constants.Z_SYNC_FLUSH }).toString("latin1");
  } catch {
    return "";
  }
}
