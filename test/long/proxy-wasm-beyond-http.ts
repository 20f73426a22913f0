import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { sha256Digest } from "../../src/config/canonical.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SharedState } from "../../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../../src/filters/proxy-wasm/host.ts";
import { withProxy } from "../kit/end-to-end.ts";
import { FilterBench, filterConfig, RecordingLog, RecordingMetrics, settle } from "../kit/filters.ts";
import { connectRaw } from "../kit/raw.ts";
import { endpointsOf, filterOf } from "../kit/snapshot.ts";
import { startEcho, tcpParts, tcpRoute } from "../kit/streams.ts";
import { describe, test } from "../kit/suite.ts";
import { until } from "../kit/until.ts";

/** Examples of the Go SDK that are no HTTP filter by itself: one for streams, and a pair with a queue between them. */

const moduleOf = (name: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(join(process.env.SELVEDGE_ENVOY_FILTERS ?? "", `go-${name}.wasm`)));

/** Each of these stands in the lines, behind the one before. */
function inOrder(lines: readonly string[], wanted: readonly string[]): boolean {
  let at = 0;
  for (const line of lines) if (at < wanted.length && line.includes(wanted[at] as string)) at++;
  return at === wanted.length;
}

/** Whose garbage is collected in a callback that pays for it. */
const BUDGET = { callbackFuel: 50_000_000, exchangeFuel: 500_000_000 };

describe("filters written for Envoy, beyond HTTP", () => {
  test("go-network sees a stream from its beginning to its end", async () => {
    const wasm = moduleOf("network");
    const log = new RecordingLog();
    const parts = { clock: new SystemClock(), metrics: new RecordingMetrics(), shared: new SharedState() };
    const filterHost = new ProxyWasmHost({ ...parts, log, foreign: new ForeignFunctions() });
    const digest = sha256Digest(wasm);
    const { budget } = filterConfig({ budget: BUDGET });
    const upstream = await startEcho();
    try {
      const snapshot = {
        routes: [tcpRoute({ filters: ["default/network"] })],
        endpoints: [endpointsOf("up", [upstream.port])],
        filters: [filterOf("network", digest, { budget })],
      };
      await withProxy(
        tcpParts([upstream.port], snapshot),
        async (proxy) => {
          const peer = await connectRaw(proxy.port());
          peer.send("hello");
          await until(() => peer.heard === "hello");
          peer.end();
          const wanted = [
            ...["new connection!", "downstream data received >>>>>>\nhello", `remote address: 127.0.0.1:${upstream.port}`],
            ...["upstream data received <<<<<<\nhello", "downstream connection close!", "connection complete!"],
          ];
          await until(() => inOrder(log.lines, wanted));
        },
        { filterHost, modules: new Map([[digest, wasm]]) },
      );
    } finally {
      await upstream.stop();
    }
    assert.deepEqual(parts.metrics.traps, []);
  });

  test("go-shared-queue: what one filter puts in, the other takes out", async () => {
    const bench = new FilterBench();
    // Go does not start when the monotonic clock says 0.
    bench.clock.advance(1_000);
    // In Envoy the receiver has a VM of that name; here both have the shared data of that name, whatever its namespace.
    const capabilities = { sharedData: "default/receiver" };
    const load = (name: string, settings: string) =>
      bench.load(
        filterConfig({ name: `default/${name}`, settings, capabilities, budget: BUDGET }),
        moduleOf(`shared_queue_${name}`),
      );
    for (const queue of ["http_request_headers", "http_response_headers"]) await load("receiver", queue);
    const exchange = bench.exchange([await load("sender", "http")]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    const sent = '{"key": "user-agent","value": "test"}';
    await until(async () => {
      bench.clock.advance(10);
      await settle();
      return (
        inOrder(bench.log.lines, [`enqueued data: ${sent}`]) &&
        bench.log.lines.some((line) => line.includes("dequeued") && line.includes(sent))
      );
    });
    assert.deepEqual(bench.metrics.traps, []);
  });
});
