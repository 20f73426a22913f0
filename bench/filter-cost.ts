/**
 * What one filter costs per request that reads two headers and adds one in each direction, in each ABI:
 * `bun bench/filter-cost.ts [--json] [--module FILE]`, and the same with `deno run -A --no-lock`. Through the chain, without a
 * network, in CPU time of the thread, less what a chain without filters costs. The guest for proxy-wasm is made by hand
 * (`--module` writes it, for Envoy); those of the other ABIs are Rust (test/guests).
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { DeadlineQueue } from "../src/core/deadline.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../src/core/head.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { ChainPool } from "../src/filters/chain.ts";
import type { ChainHost } from "../src/filters/chain-types.ts";
import { ComponentHost } from "../src/filters/component/host.ts";
import type { FilterMetrics, FilterModule } from "../src/filters/contract.ts";
import { ExtismHost } from "../src/filters/extism/host.ts";
import { SharedState } from "../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../src/filters/proxy-wasm/host.ts";
import { FilterStats } from "../src/filters/stats.ts";
import { readGuest } from "../test/kit/component.ts";
import { filterConfig } from "../test/kit/filters.ts";
import { buildTwoHeaders } from "./filter-guest.ts";
import { threadClock } from "./thread-clock.ts";

const WARM = 50_000;
const MEASURED = 10_000;
const ROUNDS = 30;

const noMetrics: FilterMetrics = {
  ...{ define: () => 1, record() {}, increment() {}, read: () => 0, onTrap() {} },
  statsOf: () => new FilterStats(),
};

class BenchExchange implements ChainHost {
  readonly request: RequestHead = {
    ...{ method: "GET", scheme: "https", authority: "shop.example", path: "/cart", query: undefined },
    ...{ version: 11, upgrade: undefined },
    headers: new HeaderBlock(["accept", "user-agent", "accept-encoding", "cookie"], ["*/*", "bench/1.0", "gzip", "a=1"]),
  };
  readonly response: ResponseHead = {
    ...{ status: 200, reason: "OK", version: 11, upgrade: undefined },
    headers: new HeaderBlock(["content-type", "content-length"], ["text/plain", "5"]),
  };
  readonly facts = {
    connection: {
      ...{ id: 1, remoteAddress: "127.0.0.1", remotePort: 1, localAddress: "127.0.0.1", localPort: 2 },
      ...{ listener: "l", tls: undefined },
    },
    ...{ clientAddress: "127.0.0.1", requestId: "", routeName: "default/shop", serviceName: "default/shop", endpointKey: "" },
    ...{ attempt: undefined, virtualHost: "", answeredBy: "upstream", answerDetails: "" },
    ...{ attempts: 1, requestBytes: 0, responseBytes: 0, startWallMs: 0, durationMs: 0, failure: undefined },
    dynamicAttribute: () => undefined,
  };
  callout(): number {
    return 0;
  }
  cancelCallout(): void {}
  onChainForward(): void {}
  onChainRespond(): void {}
  onChainFail(): void {}
  onBug(error: unknown): void {
    throw error;
  }
  pauseSource(): void {}
  resumeSource(): void {}
}

function runExchanges(chains: ChainPool, modules: readonly FilterModule[], count: number): void {
  const exchange = new BenchExchange();
  const { request, response } = exchange;
  for (let i = 0; i < count; i++) {
    const chain = chains.open(modules, exchange);
    if (chain.requestHead(true) !== "forward" || chain.responseHead(true) !== "forward") throw new Error("the filter failed");
    chain.log();
    chain.close();
    if (modules.length > 0 && (request.headers.length !== 5 || response.headers.length !== 3))
      throw new Error("the filter did not add a header in each direction");
    // The next exchange starts with what peers sent, not with what filters added.
    while (response.headers.length > 2) response.headers.removeAt(2);
    while (request.headers.length > 4) request.headers.removeAt(4);
  }
}

const threadMs = await threadClock();
const clock = new SystemClock();
const chains = new ChainPool(new DeadlineQueue(clock));
const options = { clock, log: SILENT_LOG, metrics: noMetrics, shared: new SharedState() };
const guest = buildTwoHeaders();
const target = process.argv.indexOf("--module");
if (target > 0) writeFileSync(process.argv[target + 1] as string, guest);
/** A loop without a network is more than the share of a second allows. */
const budget = { fuelPerSecond: Number.MAX_SAFE_INTEGER };
const cases: Record<string, readonly FilterModule[]> = {
  none: [],
  "proxy-wasm": [
    await new ProxyWasmHost({ ...options, foreign: new ForeignFunctions() }).load(
      guest,
      filterConfig({ name: "proxy-wasm", budget }),
    ),
  ],
  component: [
    await new ComponentHost(options).load(
      readGuest("component-typical"),
      filterConfig({ name: "component", abi: "component", budget }),
    ),
  ],
  extism: [
    await new ExtismHost(options).load(readGuest("extism-actor"), filterConfig({ name: "extism", abi: "extism", budget })),
  ],
};
for (const modules of Object.values(cases)) runExchanges(chains, modules, WARM);
const best = new Map<string, number>();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, modules] of Object.entries(cases)) {
    const startMs = threadMs();
    runExchanges(chains, modules, MEASURED);
    const us = ((threadMs() - startMs) * 1_000) / MEASURED;
    best.set(name, Math.min(best.get(name) ?? Number.POSITIVE_INFINITY, us));
  }
}
const none = best.get("none") as number;
const rows = Object.keys(cases)
  .slice(1)
  .map((abi) => ({ abi, addedUs: Number(((best.get(abi) as number) - none).toFixed(2)) }));
const runtime = "Bun" in globalThis ? "bun" : "deno";
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify({ runtime, rows })}\n`);
else
  for (const { abi, addedUs } of rows)
    process.stdout.write(`${runtime.padEnd(6)}${abi.padEnd(12)}${addedUs} us CPU per request\n`);
process.exit(0);
