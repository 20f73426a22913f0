import { expect, test } from "bun:test";
import { SocketBudget } from "./socket-budget.ts";

test("what the system allows is shared, with something left for the rest", () => {
  const shares = (descriptors: number | undefined) => {
    const { downstreamMax, upstreamMax } = new SocketBudget(descriptors);
    return [downstreamMax, upstreamMax];
  };
  expect(shares(1024)).toEqual([448, 448]);
  expect(shares(65_536)).toEqual([32_704, 32_704]);
  expect(shares(200)).toEqual([75, 75]);
  expect(shares(3)).toEqual([1, 1]);
  expect(shares(undefined)).toEqual([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
});

test("full at the edge", () => {
  const budget = new SocketBudget(200);
  budget.downstream = 74;
  budget.upstream = 75;
  expect([budget.downstreamFull, budget.upstreamFull]).toEqual([false, true]);
  budget.downstream++;
  expect(budget.downstreamFull).toBe(true);
});
