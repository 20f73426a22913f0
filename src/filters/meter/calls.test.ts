import { describe, expect, test } from "bun:test";
import { SeededRng } from "../../core/rng.ts";
import { CallGraph } from "./calls.ts";

/** A graph from lists of callees; -1: elsewhere. */
function graphOf(callees: readonly (readonly number[])[], slots: readonly number[], entries: readonly number[]): Int32Array {
  const graph = new CallGraph(callees.length);
  callees.forEach((list, i) => {
    for (const callee of list) graph.add(callee < 0 ? graph.elsewhere : callee);
    graph.close(i, slots[i] ?? 20, false);
  });
  return graph.placeGuards(entries);
}

const guardedOf = (takes: Int32Array): number[] => [...takes].flatMap((slots, i) => (slots > 0 ? [i] : []));

describe("guards", () => {
  test("a chain has none, a cycle has one", () => {
    expect(guardedOf(graphOf([[1], [2], []], [], [0]))).toEqual([]);
    expect(guardedOf(graphOf([[1], [2], [1]], [], [0]))).toEqual([1]);
    expect(guardedOf(graphOf([[0]], [], []))).toEqual([0]);
  });

  test("a way out and in again is a cycle, where the host can call", () => {
    expect(guardedOf(graphOf([[1], [-1]], [], []))).toEqual([]);
    expect(guardedOf(graphOf([[1], [-1]], [], [0]))).toEqual([0]);
    // Many ways in, one way out: there.
    expect(guardedOf(graphOf([[3], [3], [3], [-1]], [], [0, 1, 2]))).toEqual([3]);
  });

  test("the guarded frame pays for those between it and the next guarded one", () => {
    const takes = graphOf([[1], [2], [0, 3], []], [20, 21, 22, 500], [0]);
    expect([...takes].slice(0, 4)).toEqual([20 + 21 + 22, 0, 0, 0]);
  });

  test("what lies between is at most 256 slots, and an unguarded chain at most 2,048", () => {
    expect(guardedOf(graphOf([[1], [2], [0]], [20, 128, 128], [0]))).toEqual([0]);
    expect(guardedOf(graphOf([[1], [2], [0]], [20, 129, 128], [0]))).toEqual([0, 1]);
    expect(guardedOf(graphOf([[1], []], [1_048, 1_000], []))).toEqual([]);
    expect(guardedOf(graphOf([[1], []], [1_049, 1_000], []))).toEqual([0]);
  });

  test("whatever a module calls, the depth bounds the stack", () => {
    const rng = new SeededRng(4_711);
    let guarded = 0;
    let functions = 0;
    for (let round = 0; round < 300; round++) {
      const count = 1 + rng.below(30);
      const density = 1 + rng.below(4);
      const callees = Array.from({ length: count }, () =>
        Array.from({ length: rng.below(density + 1) }, () => rng.below(count + 1) - (rng.below(5) === 0 ? count + 1 : 0)).map(
          (callee) => (callee < 0 || callee >= count ? -1 : callee),
        ),
      );
      const slots = callees.map(() => 16 + rng.below(rng.below(10) === 0 ? 3_000 : 60));
      const entries = callees.flatMap((_, i) => (rng.below(3) === 0 ? [i] : []));
      const takes = graphOf(callees, slots, entries);
      guarded += guardedOf(takes).length;
      functions += count;
      for (let walk = 0; walk < 20; walk++) {
        let node = rng.below(count);
        let paid = 0;
        let used = 0;
        for (let step = 0; step < 500; step++) {
          paid += takes[node] as number;
          used += slots[node] as number;
          // Guarded or not: what the depth does not know of is one chain at most.
          if (used > paid + 2_048) throw new Error(`${used} slots of the stack for ${paid} of the depth`);
          const next = callees[node] as readonly number[];
          const callee = next[rng.below(next.length)] ?? -2;
          node = callee === -1 ? (entries[rng.below(entries.length)] ?? -2) : callee;
          if (node < 0) break;
        }
      }
    }
    expect(guarded).toBeGreaterThan(functions / 20);
    expect(guarded).toBeLessThan(functions / 2);
  });
});
