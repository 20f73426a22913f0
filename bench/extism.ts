/**
 * What a plug-in of Extism costs as a filter per exchange through the chain, no network: `bun bench/extism.ts [--json]`, and the same
 * with `deno run -A --no-lock`. The filter reads two headers and adds one in each direction (Rust
 * and serde_json by Extism's PDK, test/guests/extism-actor). Also what loading costs, and one instance in memory.
 */
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { DeadlineQueue } from "../src/core/deadline.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../src/core/head.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { ChainPool } from "../src/filters/chain.ts";
import type { ChainHost } from "../src/filters/chain-types.ts";
import type { FilterMetrics, FilterModule } from "../src/filters/contract.ts";
import { ExtismHost } from "../src/filters/extism/host.ts";
import { SharedState } from "../src/filters/guest/shared.ts";
import { FilterStats } from "../src/filters/stats.ts";
import { readGuest } from "../test/kit/component.ts";
import { filterConfig } from "../test/kit/filters.ts";

const WARM = 50_000;
const MEASURED = 100_000;
const ROUNDS = 7;
const LOADS = 20;

const noMetrics: FilterMetrics = {
  define: () => 1,
  record() {},
  increment() {},
  read: () => 0,
  statsOf: () => new FilterStats(),
  onTrap() {},
};

class BenchExchange implements ChainHost {
  readonly request: RequestHead = {
    method: "GET",
    scheme: "https",
    authority: "shop.example",
    path: "/cart",
    query: undefined,
    version: 11,
    upgrade: undefined,
    headers: new HeaderBlock(["accept", "user-agent", "accept-encoding", "cookie"], ["*/*", "bench/1.0", "gzip", "a=1"]),
  };
  readonly response: ResponseHead = {
    status: 200,
    reason: "OK",
    version: 11,
    upgrade: undefined,
    headers: new HeaderBlock(["content-type", "content-length"], ["text/plain", "5"]),
  };
  readonly facts = {
    connection: {
      id: 1,
      remoteAddress: "127.0.0.1",
      remotePort: 1,
      localAddress: "127.0.0.1",
      localPort: 2,
      listener: "l",
      tls: undefined,
    },
    clientAddress: "127.0.0.1",
    requestId: "",
    routeName: "default/shop",
    serviceName: "default/shop",
    endpointKey: "",
    attempts: 1,
    attempt: undefined,
    virtualHost: "",
    answeredBy: "upstream",
    answerDetails: "",
    requestBytes: 0,
    responseBytes: 0,
    startWallMs: 0,
    durationMs: 0,
    failure: undefined,
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
  for (let i = 0; i < count; i++) {
    const chain = chains.open(modules, exchange);
    if (chain.requestHead(true) !== "forward" || chain.responseHead(true) !== "forward") throw new Error("the filter failed");
    chain.log();
    chain.close();
    // The next exchange starts with what peers sent, not with what filters added.
    while (exchange.response.headers.length > 2) exchange.response.headers.removeAt(2);
    while (exchange.request.headers.length > 4) exchange.request.headers.removeAt(4);
  }
}

const clock = new SystemClock();
const chains = new ChainPool(new DeadlineQueue(clock));
const host = new ExtismHost({ clock, log: SILENT_LOG, metrics: noMetrics, shared: new SharedState() });
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const cpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

async function measureLoad(wasm: Uint8Array): Promise<number> {
  const times: number[] = [];
  const capabilities = { callouts: [], sharedData: undefined, rateLimit: false, clock: false };
  for (let i = 0; i < LOADS; i++) {
    const startUs = cpuUs();
    // A copy each time: the host remembers what it prepared by the bytes themselves.
    const module = await host.load(new Uint8Array(wasm), filterConfig({ abi: "extism", capabilities }));
    times.push(cpuUs() - startUs);
    module.dispose();
  }
  return median(times) / 1000;
}

const actor = readGuest("extism-actor");
const module = await host.load(
  actor,
  filterConfig({ name: "actor", abi: "extism", budget: { fuelPerSecond: Number.MAX_SAFE_INTEGER } }),
);
const cases: Record<string, readonly FilterModule[]> = {
  "no filter": [],
  "1 plug-in": [module],
  "3 plug-ins": [module, module, module],
};
const results: Record<string, number[]> = {};
for (const modules of Object.values(cases)) runExchanges(chains, modules, WARM);
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, modules] of Object.entries(cases)) {
    const startUs = cpuUs();
    runExchanges(chains, modules, MEASURED);
    results[name] ??= [];
    results[name].push((cpuUs() - startUs) / MEASURED);
  }
}
const table = Object.entries(results).map(([name, us]) => ({
  name,
  value: Number(median(us).toFixed(2)),
  unit: "us CPU per exchange",
}));
table.push({
  name: `load (${Math.round(actor.byteLength / 1024)} KiB)`,
  value: Number((await measureLoad(actor)).toFixed(1)),
  unit: "ms CPU",
});
table.push({ name: "memory of 1 instance", value: module.status().memoryBytes / 1024, unit: "KiB" });
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(table)}\n`);
else for (const { name, value, unit } of table) process.stdout.write(`${name.padEnd(28)} ${String(value).padStart(8)} ${unit}\n`);
process.exit(0);
