// Invariant: what an exchange of an isolated component does to its handles is undone: which there are, what they mean, and which number comes next.
import { expect, test } from "bun:test";
import { HandleTable, HeldState } from "./handles.ts";
import { Trap } from "./memory.ts";
import { ResourceType } from "./types.ts";

class Line extends HeldState {
  text = "";
  forget(): void {
    this.text = "";
  }
}

test("handles are put back", () => {
  const resource = new ResourceType("thing", undefined, undefined);
  const table = new HandleTable();
  const line = new Line();
  const [first, second] = [table.add(resource, line, true), table.add(resource, "second", true)];
  table.drop(second, resource);
  table.keep();
  for (let exchange = 0; exchange < 2; exchange++) {
    // The free number first, then new ones: the same in each exchange.
    expect(table.add(resource, "secret", true)).toBe(second);
    expect(table.add(resource, "another", true)).toBe(second + 1);
    line.text = "half a line";
    table.drop(first, resource);
    table.restore();
    expect(table.size).toBe(1);
    expect(table.get(first, resource)).toBe(line);
    expect(line.text).toBe("");
    expect(() => table.get(second, resource)).toThrow(Trap);
    expect(() => table.get(second + 1, resource)).toThrow(Trap);
  }
});
