/**
 * What a new instance costs after a trap, in CPU time of the thread, with the first exchange in it: `bun bench/restart.ts [--json]`, and
 * the same with `deno run -A --no-lock`. A real filter of each ABI; none has a start so costly that it
 * is kept (docs/adr/0008).
 */
import { readFileSync } from "node:fs";
import process from "node:process";
import type { Bytes } from "../src/core/bytes.ts";
import { VirtualClock } from "../src/core/clock.ts";
import { DeadlineQueue } from "../src/core/deadline.ts";
import { PROXY_WASM_LIMITS } from "../src/core/limits.ts";
import { SILENT_LOG } from "../src/core/log.ts";
import { ChainPool } from "../src/filters/chain.ts";
import { ComponentHost } from "../src/filters/component/host.ts";
import type { FilterContext, FilterHost, FilterModule } from "../src/filters/contract.ts";
import { ExtismHost } from "../src/filters/extism/host.ts";
import { SharedState } from "../src/filters/guest/shared.ts";
import { ForeignFunctions } from "../src/filters/proxy-wasm/foreign.ts";
import { ProxyWasmHost } from "../src/filters/proxy-wasm/host.ts";
import { readGuest } from "../test/kit/component.ts";
import { filterConfig, RecordingMetrics, settle, TestExchange } from "../test/kit/filters.ts";
import { threadClock } from "./thread-clock.ts";

const ROUNDS = 60;
const WARM = 20;

const threadMs = await threadClock();
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number;
const clock = new VirtualClock();
const chains = new ChainPool(new DeadlineQueue(clock));
const options = { clock, log: SILENT_LOG, metrics: new RecordingMetrics(), shared: new SharedState() };
const wasm = new ProxyWasmHost({ ...options, foreign: new ForeignFunctions() });
const transform = (): Uint8Array<ArrayBuffer> =>
  new Uint8Array(readFileSync(new URL("../dist/filters/transform.wasm", import.meta.url)));
const settings = '{"response":{"headers":[{"op":"set","name":"x-a","value":"b"}]}}';

type Load = readonly [name: string, host: FilterHost, bytes: Bytes, change: Parameters<typeof filterConfig>[0]];
const LOADS: readonly Load[] = [
  ["proxy-wasm, built-in transform", wasm, transform(), { settings }],
  ["component, Rust", new ComponentHost(options), readGuest("component-typical"), { abi: "component" }],
  ["extism, Rust and serde_json", new ExtismHost(options), readGuest("extism-actor"), { abi: "extism" }],
];

/** One exchange's request; answers the CPU time, ms. */
function ask(module: FilterModule): number {
  const begun = threadMs();
  const { chain } = new TestExchange(chains, [module], {});
  const result = chain.requestHead(true);
  chain.close();
  if (result !== "forward") throw new Error(`${result}: ${chain.failure}`);
  return threadMs() - begun;
}

async function measure([name, host, bytes, change]: Load): Promise<{ name: string; restartUs: number; plainUs: number }> {
  const config = filterConfig({ ...change, name, budget: { faults: 0, ...change?.budget } });
  const module = await host.load(bytes, config);
  let context: FilterContext | undefined;
  const open = module.open.bind(module);
  module.open = (exchange) => {
    context = open(exchange);
    return context;
  };
  const [plain, restarts]: [number[], number[]] = [[], []];
  for (let i = 0; i < WARM + ROUNDS; i++) {
    const usual = ask(module);
    const { chain } = new TestExchange(chains, [module], {});
    chain.requestHead(true);
    const begun = threadMs();
    module.onThrown(new Error("a trap"), context);
    clock.advance(0);
    const made = threadMs() - begun;
    chain.close();
    await settle();
    const first = ask(module);
    // As if it had lived for long: the next fault is a first one again.
    clock.advance(PROXY_WASM_LIMITS.restartResetMs);
    if (i >= WARM) {
      plain.push(usual);
      restarts.push(made + first);
    }
  }
  module.dispose();
  return { name, restartUs: Math.round(median(restarts) * 1000), plainUs: Math.round(median(plain) * 1000) };
}

const rows = [];
for (const load of LOADS) rows.push(await measure(load));
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(rows)}\n`);
else
  for (const { name, restartUs, plainUs } of rows)
    process.stdout.write(`${name.padEnd(42)}${restartUs} us (an exchange: ${plainUs} us)\n`);
