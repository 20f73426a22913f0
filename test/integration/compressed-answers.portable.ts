/** Class 41: nothing here inflates, so a compressed answer cannot become larger than it is, whatever a filter wants of its body. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { GET, judge, partsFor, withUpstream } from "../kit/end-to-end.ts";
import { RecordingMetrics } from "../kit/filters.ts";
import { sayRaw, startUpstream } from "../kit/raw.ts";
import { filterOf, forwardTo, routeOf } from "../kit/snapshot.ts";
import { describe, test } from "../kit/suite.ts";

const SOURCES = fileURLToPath(new URL("../../src/", import.meta.url));
const WASM = new Uint8Array(readFileSync(new URL("../../dist/filters/transform.wasm", import.meta.url)));
const DIGEST = `sha256:${createHash("sha256").update(WASM).digest("hex")}`;
/** 16 MB that travel as 16 KB. */
const BOMB = Buffer.alloc(16 * 1024 * 1024, "[");

/** The answer to a GET through `transform`, which wants to edit the JSON of it. */
async function through(body: Buffer, encoding: string, onBodyError: "refuse" | "pass"): Promise<string> {
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: ${encoding}\r\ncontent-length: ${body.length}\r\n\r\n`;
  const upstream = await startUpstream(() => head + body.toString("latin1"));
  const settings = JSON.stringify({ response: { json: [{ op: "remove", pointer: "/secret" }] }, onBodyError });
  const tools = { clock: new SystemClock(), log: SILENT_LOG, metrics: new RecordingMetrics() };
  const filterHost = new ProxyWasmHost({ ...tools, shared: new SharedState(), foreign: new ForeignFunctions() });
  const filter = filterOf("transform", DIGEST, { settings });
  let heard = "";
  await withUpstream(
    upstream,
    async (proxy) => {
      heard = await sayRaw(proxy.port(), GET);
    },
    { ...partsFor(upstream), routes: [routeOf("r", [forwardTo("up", { filters: [filter.name] })])], filters: [filter] },
    { filterHost, modules: new Map([[DIGEST, WASM]]) },
  );
  return heard;
}

describe("compressed answers of an upstream", () => {
  const bodies: readonly (readonly [string, string, Buffer])[] = [
    ["a gzip bomb", "gzip", gzipSync(BOMB)],
    ["a brotli bomb", "br", brotliCompressSync(BOMB)],
    ["gzip in gzip", "gzip, gzip", gzipSync(gzipSync(BOMB))],
    ["rubbish that claims to be gzip", "gzip", Buffer.from("\x1f\x8b\x08 no gzip at all", "latin1")],
    ["gzip that breaks off", "gzip", gzipSync(BOMB).subarray(0, 1_000)],
  ];
  for (const [name, encoding, body] of bodies) {
    test(`${name}: refused by a filter that must read it, or passed byte for byte`, async () => {
      assert.equal(judge(await through(body, encoding, "refuse")), "502");
      const passed = await through(body, encoding, "pass");
      assert.equal(judge(passed), "200");
      assert.ok(passed.slice(passed.indexOf("\r\n\r\n") + 4) === body.toString("latin1"), "other bytes");
    });
  }

  test("no source decompresses anything, but for the layers of images, within bounds (contract/registry*)", () => {
    const found = readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts"))
      .filter((path) => /gunzip|inflate|unzip|Decompress/i.test(readFileSync(SOURCES + path, "utf8")));
    assert.deepEqual(found, [join("config", "oci", "archive.ts")]);
  });
});
