/** Time of one request through the codec: parsed downstream, written upstream. `bun bench/codec.ts`; it prints ns per request. */
import process from "node:process";
import { latin1Bytes } from "../src/core/bytes.ts";
import type { RequestHead } from "../src/core/head.ts";
import { DEFAULT_HTTP_LIMITS } from "../src/core/limits.ts";
import { ByteWriter } from "../src/core/writer.ts";
import { Http1Codec } from "../src/proxy/codec/http1.ts";
import type { Http1Sink } from "../src/proxy/codec/types.ts";

const ROUNDS = 9;
const REQUESTS = 100_000;

const GET = `GET /products/shoes?color=red HTTP/1.1\r
Host: shop.example.com\r
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r
Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r
Accept-Language: en-US,en;q=0.5\r
Accept-Encoding: gzip, deflate, br, zstd\r
Connection: keep-alive\r
Cookie: session=abcdef0123456789; theme=dark\r
Upgrade-Insecure-Requests: 1\r
Sec-Fetch-Dest: document\r
\r
`;
const POST = `POST /cart HTTP/1.1\r
Host: shop.example.com\r
Content-Type: application/json\r
Content-Length: 15\r
Accept: */*\r
\r
{"shoe":"red"}\n`;
const ANSWER = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";

let head: RequestHead | undefined;
const sink: Http1Sink = {
  onRequest(request) {
    head = request;
  },
  onResponse() {},
  onData() {},
  onEnd() {},
  onFailure(failure) {
    throw new Error(failure.toString());
  },
};
const shared = {
  limits: DEFAULT_HTTP_LIMITS,
  scheme: "http",
  paths: { encodedSlash: "reject", doubleSlash: "merge", semicolon: "keep" },
  underscores: "reject",
  sink,
} as const;

const out = new ByteWriter();
const reply = { status: 200, reason: "OK", version: 11, upgrade: undefined } as const;

function measure(name: string, wire: string, write: boolean): void {
  const down = new Http1Codec({ ...shared, role: "downstream" });
  const up = new Http1Codec({ ...shared, role: "upstream" });
  const request = latin1Bytes(wire);
  const answer = latin1Bytes(ANSWER);
  const hasBody = wire.startsWith("POST");
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    for (let i = 0; i < REQUESTS; i++) {
      down.receive(request);
      if (head === undefined) throw new Error("no request");
      out.clear();
      if (write) {
        up.writeRequest(out, head, !hasBody);
        if (hasBody) {
          up.writeData(out, request.subarray(request.length - 15));
          up.writeEnd(out, undefined);
        }
        up.receive(answer);
        up.nextExchange();
      }
      down.writeResponse(out, { ...reply, headers: EMPTY }, true);
      down.nextExchange();
    }
    times.push(((performance.now() - start) * 1e6) / REQUESTS);
  }
  times.sort((a, b) => a - b);
  process.stdout.write(`${name}: ${Math.round(times[ROUNDS >> 1] as number)} ns (best ${Math.round(times[0] as number)})\n`);
}

const EMPTY = (await import("../src/core/head.ts")).HeaderBlock.from([]);
measure("GET, parsed and answered", GET, false);
measure("GET, parsed, written upstream, answer parsed, answered", GET, true);
measure("POST, parsed and answered", POST, false);
measure("POST, parsed, written upstream, answer parsed, answered", POST, true);
