import assert from "node:assert/strict";
import zlib from "node:zlib";
import type { CompressionConfig } from "../src/config/snapshot.ts";
import type { Failure } from "../src/core/failure.ts";
import { HeaderBlock, type ResponseHead } from "../src/core/head.ts";
import { COMPRESSION_LIMITS } from "../src/core/limits.ts";
import { SeededRng } from "../src/core/rng.ts";
import { BodyEncoder, type CompressionAlgorithm, negotiateCompression, supportsAlgorithm } from "../src/proxy/compress.ts";
import { makeHead } from "./kit/route-config.ts";
import { describe, test } from "./kit/suite.ts";

const CONFIG: CompressionConfig = {
  algorithms: ["br", "gzip"],
  minBytes: 100,
  types: ["text/*", "application/json"],
  level: 4,
};

type Pairs = readonly (readonly [string, string])[];

const makeResponse = (pairs: Pairs, status = 200): ResponseHead => ({
  status,
  reason: "OK",
  version: 11,
  upgrade: undefined,
  headers: HeaderBlock.from(pairs),
});

function negotiate(
  accept: readonly string[],
  pairs: Pairs,
  rest: { config?: Partial<CompressionConfig>; status?: number; method?: string } = {},
) {
  const request = makeHead("h", "/", {
    headers: HeaderBlock.from(accept.map((each) => ["accept-encoding", each] as const)),
    method: rest.method ?? "GET",
  });
  const response = makeResponse(pairs, rest.status);
  const algorithm = negotiateCompression({ ...CONFIG, ...rest.config }, request, response);
  return { algorithm, headers: Object.fromEntries(response.headers.entries()) };
}

const HTML = [["content-type", "text/html; charset=utf-8"]] as const;

describe("compression: Accept-Encoding", () => {
  const table: [readonly string[], string | undefined][] = [
    [[], undefined],
    [[""], undefined],
    [["gzip"], "gzip"],
    [["GZip"], "gzip"],
    [["x-gzip"], "gzip"],
    [["gzip, br"], "br"],
    [["gzip", "br"], "br"],
    [["gzip;q=1.0, br;q=0.9"], "gzip"],
    [["gzip ; q=0.5 , br ; q=0.5"], "br"],
    [["deflate"], undefined],
    [["*"], "br"],
    [["*;q=0.1, br;q=0"], "gzip"],
    [["gzip;q=0, br;q=0"], undefined],
    [["gzip;q=0.000"], undefined],
    [["gzip;q=0.001"], "gzip"],
    [["identity"], undefined],
    [["identity;q=1, gzip;q=0.5"], undefined],
    [["identity;q=0.5, gzip;q=0.5"], "gzip"],
    [["identity;q=0"], undefined],
    [["identity;q=0, *"], "br"],
    [["*;q=0"], undefined],
    [["gzip;q=2"], undefined],
    [["gzip;q=0.5555"], undefined],
    [["gzip;q=x"], undefined],
    [["gzip;q=0, gzip"], undefined],
    [["zstd"], undefined],
  ];
  for (const [accept, expected] of table) {
    test(`${JSON.stringify(accept)} gives ${expected}`, () => {
      assert.equal(negotiate(accept, HTML).algorithm, expected);
    });
  }

  test("zstd where the runtime has it", () => {
    const { algorithm } = negotiate(["zstd, gzip"], HTML, { config: { algorithms: ["zstd", "gzip"] } });
    assert.equal(algorithm, supportsAlgorithm("zstd") ? "zstd" : "gzip");
    assert.equal(supportsAlgorithm("zstd"), typeof zlib.createZstdCompress === "function");
  });
});

describe("compression: what may be compressed", () => {
  test("length, etag, ranges and digests no longer hold; vary is added", () => {
    const { algorithm, headers } = negotiate(
      ["gzip"],
      [
        ...HTML,
        ["content-length", "100"],
        ["etag", '"abc"'],
        ["accept-ranges", "bytes"],
        ["content-digest", "sha-256=:x:"],
        ["vary", "origin"],
        ["x-own", "1"],
      ],
    );
    assert.equal(algorithm, "gzip");
    assert.deepEqual(headers, {
      "content-type": "text/html; charset=utf-8",
      "content-encoding": "gzip",
      etag: 'W/"abc"',
      vary: "origin, accept-encoding",
      "x-own": "1",
    });
  });

  test("vary is not doubled, and is there when the caller takes no encoding", () => {
    for (const vary of ["Accept-Encoding", "origin, accept-encoding", "*"])
      assert.equal(negotiate(["gzip"], [...HTML, ["vary", vary]]).headers.vary, vary);
    const plain = negotiate([], [...HTML, ["etag", '"a"'], ["content-length", "500"]]);
    assert.deepEqual(plain.headers, {
      "content-type": "text/html; charset=utf-8",
      etag: '"a"',
      "content-length": "500",
      vary: "accept-encoding",
    });
    assert.equal(negotiate(["gzip"], [...HTML, ["etag", 'W/"a"']]).headers.etag, 'W/"a"');
  });

  const untouched: [string, Pairs, { status?: number }?][] = [
    ["short", [...HTML, ["content-length", "99"]]],
    ["no type", []],
    ["other type", [["content-type", "image/png"]]],
    ["a type that only starts alike", [["content-type", "application/json-seq"]]],
    ["events", [["content-type", "text/event-stream"]]],
    ["encoded already", [...HTML, ["content-encoding", "br"]]],
    ["no-transform", [...HTML, ["cache-control", "public, No-Transform"]]],
    ["no-transform in the second field", [...HTML, ["cache-control", "public"], ["cache-control", "no-transform"]]],
    ["a range", [...HTML, ["content-range", "bytes 0-1/2"]]],
    ["206", HTML, { status: 206 }],
    ["204", HTML, { status: 204 }],
    ["304", HTML, { status: 304 }],
    ["103", HTML, { status: 103 }],
  ];
  for (const [name, pairs, rest] of untouched) {
    test(`untouched: ${name}`, () => {
      const { algorithm, headers } = negotiate(["gzip"], pairs, rest);
      assert.equal(algorithm, undefined);
      assert.deepEqual(headers, Object.fromEntries(pairs));
    });
  }

  test("HEAD is not compressed but varies; events are when they are listed by name; errors are", () => {
    const head = negotiate(["gzip"], [...HTML, ["content-length", "500"]], { method: "HEAD" });
    assert.equal(head.algorithm, undefined);
    assert.deepEqual(head.headers, {
      "content-type": "text/html; charset=utf-8",
      "content-length": "500",
      vary: "accept-encoding",
    });
    const events = [["content-type", "text/event-stream"]] as const;
    assert.equal(negotiate(["gzip"], events, { config: { types: ["text/event-stream"] } }).algorithm, "gzip");
    assert.equal(negotiate(["gzip"], HTML, { status: 404 }).algorithm, "gzip");
    assert.equal(negotiate(["gzip"], [["content-type", "Application/JSON"]]).algorithm, "gzip");
  });
});

const ALGORITHMS = (["gzip", "br", "zstd"] as const).filter(supportsAlgorithm);

function decode(algorithm: CompressionAlgorithm, bytes: Buffer): Buffer {
  if (algorithm === "gzip") return zlib.gunzipSync(bytes);
  return algorithm === "br" ? zlib.brotliDecompressSync(bytes) : zlib.zstdDecompressSync(bytes);
}

/** An encoder whose calls are kept; `until` waits for something to become true of them. */
function record(algorithm: CompressionAlgorithm) {
  const parts: Buffer[] = [];
  const state = { ended: false, failure: undefined as Failure | undefined, writable: 0, inCall: false };
  let wake = () => {};
  const note = (change: () => void) => {
    assert.equal(state.inCall, false, "no call within write or end");
    change();
    wake();
  };
  const encoder = new BodyEncoder(algorithm, 5, {
    onData: (bytes) => note(() => parts.push(Buffer.from(bytes))),
    onEnd: () => note(() => (state.ended = true)),
    onFailure: (failure) => note(() => (state.failure = failure)),
    onWritable: () => note(() => state.writable++),
    onBug: (error) => {
      throw error;
    },
  });
  const call = <T>(body: () => T): T => {
    state.inCall = true;
    try {
      return body();
    } finally {
      state.inCall = false;
    }
  };
  return {
    encoder,
    state,
    write: (bytes: Uint8Array) => call(() => encoder.write(bytes)),
    end: () => call(() => encoder.end()),
    all: () => Buffer.concat(parts),
    async until(condition: () => boolean): Promise<void> {
      while (!condition()) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

describe("compression: body encoder", () => {
  for (const algorithm of ALGORITHMS) {
    test(`${algorithm}: there and back, whatever the pieces`, async () => {
      const rng = new SeededRng(41);
      for (const sizes of [[], [1], [0, 5, 0], [100_000], Array.from({ length: 50 }, () => rng.below(5_000))]) {
        const run = record(algorithm);
        const sent: Buffer[] = [];
        for (const size of sizes) {
          const piece = Buffer.alloc(size, 0).map(() => 97 + rng.below(4));
          sent.push(Buffer.from(piece));
          run.write(piece);
          // The encoder must have copied it.
          piece.fill(0);
        }
        run.end();
        await run.until(() => run.state.ended);
        assert.deepEqual(decode(algorithm, run.all()), Buffer.concat(sent));
        assert.equal(run.encoder.pendingBytes, 0);
        assert.equal(run.state.failure, undefined);
      }
    });

    test(`${algorithm}: what trickles in trickles out`, async () => {
      const run = record(algorithm);
      const decoder =
        algorithm === "gzip"
          ? zlib.createGunzip()
          : algorithm === "br"
            ? zlib.createBrotliDecompress()
            : zlib.createZstdDecompress();
      let text = "";
      let wake = () => {};
      decoder.on("data", (bytes: Buffer) => {
        text += bytes.toString();
        wake();
      });
      let fed = 0;
      for (const line of ["one\n", "two\n", "three\n"]) {
        run.write(Buffer.from(line));
        // Without a flush nothing of it would ever come: the body is not ended.
        while (!text.endsWith(line)) {
          if (run.all().length > fed) {
            const bytes = run.all().subarray(fed);
            fed = run.all().length;
            await new Promise<void>((resolve) => {
              wake = resolve;
              decoder.write(bytes, () => resolve());
            });
          } else await run.until(() => run.all().length > fed);
        }
      }
      assert.equal(text, "one\ntwo\nthree\n");
      run.encoder.destroy();
      decoder.destroy();
    });

    test(`${algorithm}: a slow reader stops the writer, and all arrives once it reads`, async () => {
      const run = record(algorithm);
      const rng = new SeededRng(7);
      // Noise does not shrink, so that it must wait somewhere.
      const piece = Buffer.alloc(64 * 1024).map(() => rng.below(256));
      run.encoder.pause();
      let pieces = 0;
      let open = true;
      while (open) {
        open = run.write(piece);
        pieces++;
        assert.ok(pieces <= COMPRESSION_LIMITS.pendingBytes / piece.length, "bounded");
      }
      assert.equal(run.encoder.pendingBytes, COMPRESSION_LIMITS.pendingBytes);
      assert.equal(run.state.writable, 0);
      run.encoder.resume();
      await run.until(() => run.state.writable === 1);
      run.end();
      await run.until(() => run.state.ended);
      assert.equal(decode(algorithm, run.all()).length, pieces * piece.length);
    });

    test(`${algorithm}: after destroy nothing is called`, async () => {
      const run = record(algorithm);
      run.write(Buffer.alloc(200_000, 1));
      run.end();
      run.encoder.destroy();
      run.encoder.destroy();
      assert.equal(run.write(Buffer.alloc(10)), true);
      const other = record(algorithm);
      other.write(Buffer.alloc(200_000, 1));
      other.end();
      await other.until(() => other.state.ended);
      assert.equal(run.all().length, 0);
      assert.equal(run.state.ended, false);
      assert.equal(run.state.failure, undefined);
    });
  }
});
