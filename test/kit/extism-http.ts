import assert from "node:assert/strict";
import { utf8Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import type { CalloutAnswer, FilterModule } from "../../src/filters/contract.ts";
import { buildPlugin, ExtismBench, type PluginSource } from "./extism.ts";
import { settle, type TestExchange } from "./filters.ts";

// Plug-ins of Extism made by hand that wait for an answer in the middle of a function, and a service that answers.

export type Change = NonNullable<Parameters<ExtismBench["load"]>[1]>;

export const REQUEST = '{"url":"http://aside:8080/who?a=1","method":"POST","headers":{"X-Token":"t","Content-Length":"99"}}';
export const ASK = "$text i64.const 0 $http_request";
/** What the service says is what the plug-in answers. */
export const PASS_ON = `${ASK} local.tee 0 local.get 0 $length $output_set i32.const 0`;
export const STATUS = `${ASK} drop $http_status_code`;
export const GRANTED: Change = { capabilities: { callouts: ["default/aside"] } };

export const answerOf = (body: string | Uint8Array, status = "200", ...fields: [string, string][]): CalloutAnswer => ({
  headers: HeaderBlock.from([[":status", status], ...fields]),
  body: typeof body === "string" ? utf8Bytes(body) : body,
  trailers: undefined,
});
export const setting = (value: string): CalloutAnswer => answerOf(`{"headers":{"set":[["x-user","${value}"]]}}`);

export async function load(source: string | PluginSource, change: Change = {}) {
  const bench = new ExtismBench();
  const plugin = typeof source === "string" ? { exports: { on_request: source } } : source;
  const module = await bench.load(buildPlugin({ text: REQUEST, ...plugin }), {
    ...GRANTED,
    ...change,
    capabilities: { ...GRANTED.capabilities, ...change.capabilities },
  });
  return { bench, module };
}

export async function answer(
  exchange: TestExchange,
  what: CalloutAnswer | undefined,
  index = exchange.callouts.length - 1,
): Promise<void> {
  exchange.callouts[index]?.done(what);
  await settle();
}

/** One request, whose calls get these answers. */
export async function run(source: string | PluginSource, answers: readonly (CalloutAnswer | undefined)[], change: Change = {}) {
  const { bench, module } = await load(source, change);
  const exchange = bench.exchange([module]);
  assert.equal(exchange.chain.requestHead(true), "held");
  await settle();
  for (const [i, each] of answers.entries()) await answer(exchange, each, i);
  return { bench, module, exchange };
}

/** Instances are made one a turn of the loop: at least so many turns go by. */
export async function turns(bench: ExtismBench, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await settle();
    bench.clock.advance(0);
  }
  await settle();
}

export const failureOf = (exchange: TestExchange): string => String(exchange.chain.failure ?? exchange.failure ?? "none");

/** What a function leaves on the stack after its calls. */
export async function numberAfter(body: string, answers: readonly CalloutAnswer[], text = REQUEST): Promise<number> {
  const { exchange } = await run({ text, exports: { on_request: body } }, answers);
  if (exchange.events.some((event) => event.startsWith("request head"))) return 0;
  const failure = failureOf(exchange);
  return Number(/it answered (-?\d+)/.exec(failure)?.[1] ?? assert.fail(failure));
}

/** Nothing of a call is left, and the next exchange is served. */
export async function assertServes(bench: ExtismBench, module: FilterModule): Promise<void> {
  const next = bench.exchange([module]);
  assert.equal(next.chain.requestHead(true), "held", failureOf(next));
  await settle();
  await answer(next, setting("next"));
  assert.equal(next.request.headers.get("x-user"), "next", failureOf(next));
  next.chain.close();
  assert.equal(module.status().contexts, 0);
}
