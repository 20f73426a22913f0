import { expect, test } from "bun:test";
import { SeededRng } from "../../core/rng.ts";
import { StreamContext } from "./context.ts";
import { ContextTable } from "./context-table.ts";

test("contexts are found by their id as long as they live, also among many that come and go", () => {
  for (let seed = 1; seed <= 10; seed++) {
    const rng = new SeededRng(seed);
    const table = new ContextTable();
    const model = new Map<number, StreamContext>();
    const ids = new Set<number>();
    for (let step = 0; step < 3_000; step++) {
      if (rng.next() < 0.55) {
        const context = new StreamContext();
        const id = table.add(context);
        expect(ids.has(id)).toBe(false);
        ids.add(id);
        model.set(id, context);
      } else if (model.size > 0) {
        const [id, context] = [...model][rng.below(model.size)] as [number, StreamContext];
        table.remove(context);
        table.remove(context);
        model.delete(id);
        expect(table.get(id)).toBeUndefined();
      }
      expect(table.size).toBe(model.size);
    }
    for (const [id, context] of model) expect(table.get(id)).toBe(context);
    expect(new Set(table.values())).toEqual(new Set(model.values()));
    expect(Math.min(...ids)).toBe(2);
    for (const id of [0, 1, -1, 0x7fff_ffff, Number.NaN]) expect(table.get(id)).toBeUndefined();
  }
});
