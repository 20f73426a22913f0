import { latin1Bytes } from "../../src/core/bytes.ts";
import { HeaderBlock } from "../../src/core/head.ts";
import type { TestExchange } from "./filters.ts";

const TRAILERS = (): HeaderBlock => HeaderBlock.from([["t", "1"]]);

/** A whole exchange, as far as it goes; answers what each step came to. */
export function play(exchange: TestExchange): string[] {
  const { chain } = exchange;
  const steps: (() => string)[] = [
    () => chain.requestHead(false),
    () => chain.requestData(latin1Bytes("x"), false),
    () => chain.requestEnd(TRAILERS()),
    () => exchange.respond(200, [], false),
    () => chain.responseData(latin1Bytes("y"), false),
    () => chain.responseEnd(TRAILERS()),
  ];
  const results: string[] = [];
  for (const step of steps) {
    const result = step();
    results.push(result);
    if (result === "failed") break;
  }
  chain.log();
  chain.close();
  return results;
}
