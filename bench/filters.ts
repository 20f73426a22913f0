/**
 * What a filter costs per exchange through the chain, no network: `bun bench/filters.ts [--json]`. Guests are hand-made, so
 * that the host's part is seen: `empty` has callbacks that answer at once, `typical` makes three host calls in each direction
 * (reads a header, reads a property, sets a header). When the built-in filters are built (`npm run build`), they are measured
 * with small settings too.
 */
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { SystemClock } from "../src/core/clock.ts";
import { DeadlineQueue } from "../src/core/deadline.ts";
import { EventLog } from "../src/core/events.ts";
import { HeaderBlock, type RequestHead, type ResponseHead } from "../src/core/head.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { ChainPool } from "../src/filters/chain.ts";
import type { ChainHost } from "../src/filters/chain-types.ts";
import type { FilterModule } from "../src/filters/contract.ts";
import { SharedState } from "../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../src/filters/proxy-wasm/host.ts";
import { RATE_LIMIT_FUNCTION, RateLimitFunction } from "../src/filters/rate-limit/foreign.ts";
import { RateLimitTable, tableBytes } from "../src/filters/rate-limit/table.ts";
import { FilterMetricsTable } from "../src/proxy/observe/filter-metrics.ts";
import { filterConfig } from "../test/kit/filters.ts";
import { ModuleBuilder, op, type ValueType } from "../test/kit/wasm.ts";

const WARM = 100_000;
const MEASURED = 200_000;
const ROUNDS = 7;

const i32s = (count: number): ValueType[] => new Array<ValueType>(count).fill("i32");

function buildGuest(hostCalls: boolean): Uint8Array<ArrayBuffer> {
  const builder = new ModuleBuilder();
  const getHeader = builder.import("env", "proxy_get_header_map_value", i32s(5), ["i32"]);
  const setHeader = builder.import("env", "proxy_replace_header_map_value", i32s(5), ["i32"]);
  const getProperty = builder.import("env", "proxy_get_property", i32s(4), ["i32"]);
  builder.memory(1).data(0, new TextEncoder().encode("user-agentx-filteredyesrequest\0path"));
  const calls = (map: number): number[] => {
    if (!hostCalls) return [];
    const call = (index: number, args: number[]): number[] => [
      ...args.flatMap((arg) => op.i32(arg)),
      ...op.call(index),
      ...op.drop,
    ];
    return [
      ...call(getHeader, [map, 0, 10, 512, 516]),
      ...call(getProperty, [23, 12, 512, 516]),
      ...call(setHeader, [map, 10, 10, 20, 3]),
    ];
  };
  for (const [name, map] of [
    ["request", 0],
    ["response", 2],
  ] as const) {
    builder.func(`proxy_on_${name}_headers`, i32s(3), ["i32"], [...calls(map), ...op.i32(0)]);
  }
  for (const name of ["context_create", "log", "delete"])
    builder.func(`proxy_on_${name}`, i32s(name === "context_create" ? 2 : 1), [], []);
  builder.func("proxy_on_done", ["i32"], ["i32"], op.i32(1));
  builder.func("proxy_on_memory_allocate", ["i32"], ["i32"], op.i32(1024));
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  return builder.build();
}

/** The body of every answer, as in bench/proxies.ts. */
const BODY = new Uint8Array(56);

/** What a proxy counts, with it. */
const metrics = new FilterMetricsTable(new EventLog(new SystemClock()));

class BenchExchange implements ChainHost {
  readonly request: RequestHead = {
    method: "GET",
    scheme: "https",
    authority: "shop.example",
    path: "/cart",
    query: undefined,
    version: 11,
    upgrade: undefined,
    headers: new HeaderBlock(["accept", "user-agent", "accept-encoding"], ["*/*", "bench/1.0", "gzip"]),
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
    chain.requestHead(true);
    chain.responseHead(false);
    chain.responseData(BODY, true);
    chain.log();
    chain.close();
    // The next exchange starts with what peers sent, not with what filters added.
    while (exchange.response.headers.length > 2) exchange.response.headers.removeAt(2);
    while (exchange.request.headers.length > 3) exchange.request.headers.removeAt(3);
  }
}

const clock = new SystemClock();
const chains = new ChainPool(new DeadlineQueue(clock));
const foreign = new ForeignFunctions();
const counters = new RateLimitFunction(new RateLimitTable(new BigInt64Array(new SharedArrayBuffer(tableBytes(4096))), { clock }));
foreign.registerPlaced(
  RATE_LIMIT_FUNCTION,
  (_filter, memory, at, size) => counters.call(memory, at, size),
  () => true,
);
const host = new ProxyWasmHost({
  clock,
  log: SILENT_LOG,
  metrics,
  shared: new SharedState(),
  foreign,
});
const empty = await host.load(buildGuest(false), filterConfig({ name: "empty" }));
const typical = await Promise.all(["a", "b", "c"].map((name) => host.load(buildGuest(true), filterConfig({ name }))));
const cases: Record<string, readonly FilterModule[]> = {
  "no filter": [],
  "1 empty": [empty],
  "1 typical": typical.slice(0, 1),
  "3 typical": typical,
};
const BUILTINS: Readonly<Record<string, unknown>> = {
  "rate-limit": { limits: [{ name: "a", requests: 1_000_000, per: "second", burst: 1_000_000, key: ["header:user-agent"] }] },
  authz: { rules: [{ name: "reads", effect: "allow", when: { methods: ["GET"], paths: ["/cart"] } }] },
  transform: { response: { headers: [{ op: "set", name: "x-filtered", value: "yes" }] } },
};
/** As bench/proxies.ts has them. */
const PROXY_BENCH: Readonly<Record<string, unknown>> = {
  "rate-limit": { limits: [{ name: "all", requests: 1_000_000, per: "second", key: ["clientIp"] }] },
  authz: { rules: [{ name: "get", effect: "allow", when: { methods: ["GET"] } }] },
  transform: { response: { headers: [{ op: "set", name: "x-bench", value: "1" }] } },
};

async function loadBuiltin(name: string, settings: unknown): Promise<FilterModule | undefined> {
  const path = new URL(`../dist/filters/${name}.wasm`, import.meta.url);
  if (!existsSync(path)) return undefined;
  const config = filterConfig({
    name,
    settings: JSON.stringify(settings),
    capabilities: { callouts: [], sharedData: undefined, rateLimit: true, clock: true },
  });
  try {
    return await host.load(readFileSync(path), config);
  } catch (error) {
    process.stderr.write(`not measured: ${name}: ${String(error)}\n`);
    return undefined;
  }
}

async function loadBuiltins(settings: Readonly<Record<string, unknown>>): Promise<FilterModule[]> {
  const loaded = await Promise.all(Object.entries(settings).map(([name, own]) => loadBuiltin(name, own)));
  return loaded.filter((module) => module !== undefined);
}

const builtins = await loadBuiltins(BUILTINS);
for (const module of builtins) cases[`builtin ${module.config.name}`] = [module];
if (builtins.length > 1) cases["all built-ins"] = builtins;
const asInBench = await loadBuiltins(PROXY_BENCH);
for (const module of asInBench) cases[`bench ${module.config.name}`] = [module];
if (asInBench.length > 1) cases["bench all"] = asInBench;
const results: Record<string, number[]> = {};
/** Processor time of this process: others on the machine are not in it. */
const cpuUs = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};
for (const modules of Object.values(cases)) runExchanges(chains, modules, WARM);
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, modules] of Object.entries(cases)) {
    const startUs = cpuUs();
    runExchanges(chains, modules, MEASURED);
    results[name] ??= [];
    results[name].push(((cpuUs() - startUs) * 1_000) / MEASURED);
  }
}
const median = (values: readonly number[]): number => Math.round(values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0);
const table = Object.entries(results).map(([name, values]) => ({ name, nsPerExchange: median(values) }));
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(table)}\n`);
else
  for (const row of table)
    process.stdout.write(`${row.name.padEnd(20)} ${String(row.nsPerExchange).padStart(8)} ns per exchange\n`);
process.exit(0);
