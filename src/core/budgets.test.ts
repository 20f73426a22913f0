import { expect, test } from "bun:test";
import { Budget, WindowBudget } from "./budgets.ts";
import { VirtualClock } from "./clock.ts";

test("a budget of what is held: to its edge, given back once, nothing after the end", () => {
  const budget = new Budget(10);
  const [one, other] = [budget.share(), budget.share()];
  expect([one.take(6), other.take(5), other.take(4), one.take(1), budget.held]).toEqual([true, false, true, false, 10]);
  one.end(2);
  expect([one.take(1), budget.held]).toEqual([false, 6]);
  one.end();
  one.end();
  expect(budget.held).toBe(4);
  other.end(100);
  expect(budget.held).toBe(4);
});

test("a budget of a window: each one, all together, and what is spent comes back when the window has passed", () => {
  const clock = new VirtualClock();
  const budget = new WindowBudget(clock, { each: 10, all: 25, windowMs: 1_000 });
  budget.spend("a", 10);
  expect([budget.left("a"), budget.left("b")]).toEqual([0, 10]);
  budget.spend("b", 9);
  expect([budget.left("b"), budget.left("c")]).toEqual([1, 6]);
  budget.spend("c", 7);
  // More than there was: nobody has anything, and nothing is owed below that.
  expect(["a", "b", "c", "d"].map((who) => budget.left(who))).toEqual([0, 0, 0, 0]);
  clock.advance(999);
  expect(budget.left("d")).toBe(0);
  budget.spend("d", 0);
  budget.spend("d", 3);
  clock.advance(101);
  expect([budget.left("a"), budget.left("d")]).toEqual([10, 7]);
  clock.advance(1_000);
  expect(budget.left("d")).toBe(10);
});
