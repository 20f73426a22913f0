import assert from "node:assert/strict";
import { latin1Bytes } from "../../src/core/bytes.ts";
import type { VirtualClock } from "../../src/core/clock.ts";
import { HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import type { FilterModule } from "../../src/filters/contract.ts";
import { FilterBench, filterConfig, type RecordingLog, type RecordingMetrics, settle, type TestExchange } from "./filters.ts";
import { ModuleBuilder, op } from "./wasm.ts";

/** Attacks of filters on their host, each so many times, with another filter's exchanges in between. */

/** What resident memory may be after attacks, of what it was when warm. */
export const GROWTH_MAX = 1.1;

/** What benches of all ABIs have. */
export interface AnyBench {
  readonly clock: VirtualClock;
  readonly log: RecordingLog;
  readonly metrics: RecordingMetrics;
  exchange(modules: readonly FilterModule[], change?: Partial<RequestHead>): TestExchange;
}

export interface Attack {
  readonly name: string;
  /** In a callback 1,000 times, when it is loaded 10 times. */
  readonly kind: "callback" | "load";
  /** What must come of it, each time: `failed (REASON)`, `forward`, `refused`, … */
  readonly expect: RegExp;
  /** Makes what one time needs; each call is one time and answers what came of it. */
  prepare(): Promise<() => Promise<string>>;
}

/** A filter that does its work: `x-innocent` in both directions. */
const INNOCENT = (() => {
  const builder = new ModuleBuilder();
  const add = builder.import("env", "proxy_add_header_map_value", ["i32", "i32", "i32", "i32", "i32"], ["i32"]);
  builder.memory(1).data(16, new TextEncoder().encode("x-innocent1"));
  for (const [name, map] of [
    ["request", 0],
    ["response", 2],
  ] as const) {
    const call = [map, 16, 10, 26, 1].flatMap((value) => op.i32(value));
    builder.func(`proxy_on_${name}_headers`, ["i32", "i32", "i32"], ["i32"], [...call, ...op.call(add)]);
  }
  builder.func("proxy_abi_version_0_2_1", [], [], []);
  builder.func("malloc", ["i32"], ["i32"], op.i32(4096));
  return builder.build();
})();

/** Other requests: each begins before an attack and ends after it, and must be served as ever. */
export class Bystander {
  readonly #bench = new FilterBench();
  readonly #module: Promise<FilterModule> = this.#bench.load(filterConfig({ name: "default/innocent" }), INNOCENT);

  async around(attack: () => Promise<string>): Promise<string> {
    const module = await this.#module;
    const exchange = this.#bench.exchange([module]);
    assert.equal(exchange.chain.requestHead(true), "forward");
    assert.equal(exchange.request.headers.get("x-innocent"), "1");
    const outcome = await attack();
    assert.equal(exchange.respond(200, [], true), "forward");
    assert.equal(exchange.response?.headers.get("x-innocent"), "1");
    exchange.chain.log();
    exchange.chain.close();
    assert.deepEqual([module.status().traps, module.status().contexts], [0, 0]);
    return outcome;
  }
}

/** Runs one attack so many times; answers how often what came of it. */
export async function repeat(attack: Attack, times: number, bystander: Bystander): Promise<Map<string, number>> {
  const outcomes = new Map<string, number>();
  const once = await attack.prepare();
  for (let i = 0; i < times; i++) {
    const outcome = await bystander.around(once);
    assert.match(outcome, attack.expect, attack.name);
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  return outcomes;
}

/** What no filter may learn that was not granted it. */
const SECRETS = ["authorization", "cookie", "proxy-authorization", "x-api-key"].map((name) => [name, "secret"] as const);

/** Longest delay before a broken instance is renewed. */
const RENEWED_MS = 30_000;

/** An attack in the callbacks of a filter: whole exchanges, with bodies and trailers in both directions, and a tick. */
export function inCallbacks<Bench extends AnyBench>(
  name: string,
  expect: RegExp,
  makeBench: () => Bench,
  load: (bench: Bench) => Promise<FilterModule>,
  check: (exchange: TestExchange, bench: Bench) => string = () => "",
): Attack {
  return {
    name,
    kind: "callback",
    expect,
    async prepare() {
      const bench = makeBench();
      const module = await load(bench);
      return async () => {
        for (let i = 0; i < 20 && module.status().instances === 0; i++) {
          bench.clock.advance(RENEWED_MS);
          await settle();
        }
        assert.equal(module.status().instances, 1, "it was renewed");
        const { traps } = module.status();
        const exchange = bench.exchange([module], { headers: HeaderBlock.from(SECRETS) });
        const outcome = walk(exchange);
        const found = check(exchange, bench);
        exchange.chain.log();
        exchange.chain.close();
        bench.clock.advance(1_000);
        await settle();
        assert.equal(module.status().contexts, 0, "nothing of the exchange is left");
        const reason = bench.metrics.traps.at(-1)?.replace(/\d+/g, "N");
        const broke = module.status().traps > traps ? ` (${reason})` : "";
        forget(bench);
        return `${found === "" ? outcome : found}${broke}`;
      };
    },
  };
}

/** All phases of an exchange, or those up to the one that ended it. */
function walk(exchange: TestExchange): string {
  const { chain } = exchange;
  const steps: readonly (() => string)[] = [
    () => chain.requestHead(false),
    () => chain.requestData(latin1Bytes("request"), false),
    () => chain.requestEnd(HeaderBlock.from([["x-trailer", "1"]])),
    () => exchange.respond(200, [["set-cookie", "secret"]], false),
    () => chain.responseData(latin1Bytes("response"), false),
    () => chain.responseEnd(HeaderBlock.from([["x-trailer", "1"]])),
  ];
  for (const step of steps) {
    const result = step();
    if (result !== "forward") return result;
  }
  return "forward";
}

/** What the bench wrote down grows without end, but not because of the host. */
function forget({ log, metrics }: AnyBench): void {
  log.lines.length = 0;
  metrics.traps.length = 0;
  metrics.quarantined.length = 0;
}

/** An attack with what is loaded: refused with a reason, or loaded and disposed of. */
export function atLoad(
  name: string,
  expect: RegExp,
  makeWasm: () => Uint8Array,
  load: (wasm: Uint8Array) => Promise<FilterModule>,
): Attack {
  return {
    name,
    kind: "load",
    expect,
    prepare: async () => async () => {
      try {
        (await load(makeWasm())).dispose();
        return "loaded";
      } catch (error) {
        assert.ok(error instanceof Error && error.message !== "", "a refusal says why");
        return `refused (${error.message.replace(/\d+/g, "N")})`;
      }
    },
  };
}
