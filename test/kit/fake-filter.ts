import assert from "node:assert/strict";
import { EMPTY_BYTES, latin1Text } from "../../src/core/bytes.ts";
import {
  CONTINUE,
  type FilterContext,
  type FilterExchange,
  type FilterModule,
  type Verdict,
} from "../../src/filters/contract.ts";
import { FilterStats } from "../../src/filters/stats.ts";
import { filterConfig } from "./filters.ts";

type Callback = "requestHead" | "requestData" | "requestTrailers" | "responseHead" | "responseData" | "responseTrailers";
type Answer = (filter: FakeFilter, end: boolean) => Verdict;

/** A filter in TypeScript: answers by callback, tells what it saw. */
export class FakeFilter implements FilterModule {
  readonly config;
  context: FilterContext | undefined;
  exchange: FilterExchange | undefined;
  closed = 0;
  readonly stats = new FilterStats();
  constructor(
    readonly name: string,
    readonly seen: string[],
    readonly answers: Partial<Record<Callback, Answer>> = {},
    change: Parameters<typeof filterConfig>[0] = {},
    readonly wantsBodies = true,
    readonly hearsTrailers = true,
  ) {
    this.config = filterConfig({ ...change, name });
  }
  control(): void {}
  onThrown(error: unknown): string {
    return assert.fail(String(error));
  }
  open(exchange: FilterExchange): FilterContext {
    this.exchange = exchange;
    const call = (callback: Callback, end: boolean, shown: string): Verdict => {
      this.seen.push(`${this.name} ${callback}${shown}${end ? " end" : ""}`);
      return this.answers[callback]?.(this, end) ?? CONTINUE;
    };
    const body = (direction: "request" | "response"): string => ` "${this.body(direction)}"`;
    this.context = {
      onRequestHead: (end) => call("requestHead", end, ""),
      onRequestData: (end) => call("requestData", end, body("request")),
      onRequestTrailers: () => call("requestTrailers", false, ""),
      onResponseHead: (end) => call("responseHead", end, ""),
      onResponseData: (end) => call("responseData", end, body("response")),
      onResponseTrailers: () => call("responseTrailers", false, ""),
      onLog: () => void this.seen.push(`${this.name} log`),
      close: () => void this.closed++,
      wantsTrailers: () => this.hearsTrailers,
      wantsBody: () => this.wantsBodies,
      spentFuel: () => 0,
      spentMs: 0,
    };
    return this.context;
  }
  body(direction: "request" | "response"): string {
    const buffer = this.exchange?.body(direction);
    return latin1Text(buffer?.read(0, buffer.length) ?? EMPTY_BYTES);
  }
  resume(direction: "request" | "response"): void {
    if (this.context !== undefined) this.exchange?.resume(this.context, direction);
  }
  status(): ReturnType<FilterModule["status"]> {
    return { instances: 1, contexts: 0, calls: 0, traps: 0, memoryBytes: 0, lastError: undefined };
  }
  dispose(): void {}
}
