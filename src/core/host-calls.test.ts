import { describe, expect, test } from "bun:test";
import { exchangeHostCalls, hostCallsLeft } from "./host-calls.ts";

describe("calls to the host", () => {
  test("an exchange has ten times those of a callback unless its budget says otherwise", () => {
    expect(exchangeHostCalls(7, undefined)).toBe(70);
    expect(exchangeHostCalls(7, 3)).toBe(3);
  });

  test("a callback has its own, and no more than its exchange has left", () => {
    const budget = { hostCallsPerCallback: 10, hostCallsPerExchange: 25 };
    expect([undefined, 0, 15, 16, 24, 25, 26].map((used) => hostCallsLeft(budget, used))).toEqual([10, 10, 10, 9, 1, 0, 0]);
  });
});
