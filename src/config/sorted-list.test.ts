import { expect, test } from "bun:test";
import { SeededRng } from "../core/rng.ts";
import { diffLists, findNamed, patchList, positionOf } from "./sorted-list.ts";

interface Item {
  readonly name: string;
}
const nameOf = (item: Item): string => item.name;
const listOf = (names: string): Item[] => [...names].map((name) => ({ name }));
const text = (list: readonly Item[]): string => list.map(nameOf).join("");

test("positions and names", () => {
  const list = listOf("bdf");
  expect(["a", "b", "c", "f", "g"].map((name) => positionOf(list, name, nameOf))).toEqual([0, 0, 1, 2, 3]);
  expect(findNamed(list, "d", nameOf)).toBe(list[1]);
  expect(findNamed(list, "e", nameOf)).toBeUndefined();
  expect(findNamed([], "e", nameOf)).toBeUndefined();
});

test("patching and comparing are each other's inverse, over random lists", () => {
  const rng = new SeededRng(5);
  const names = "abcdefghijklmnopqrstuvwxyz";
  const random = (share: number): string => [...names].filter(() => rng.next() < share).join("");
  for (let round = 0; round < 500; round++) {
    const list = listOf(random(0.5));
    const [removed, added] = [random(0.1), listOf(random(0.1))];
    const patched = patchList(list, removed, added, nameOf);
    const wanted = new Map(list.map((each) => [each.name, each]));
    for (const name of removed) wanted.delete(name);
    for (const each of added) wanted.set(each.name, each);
    expect(patched).toEqual([...wanted.values()].sort((a, b) => (a.name < b.name ? -1 : 1)));
    for (const each of patched) expect(wanted.get(each.name)).toBe(each);
    const diff = diffLists(list, patched, nameOf);
    expect(text(diff.added)).toBe(text(added));
    expect(patchList(list, diff.removed.map(nameOf), diff.added, nameOf)).toEqual(patched);
    if (removed === "" && added.length === 0) expect(patched).toBe(list);
  }
});

test("of lists in no order the difference is exact as well", () => {
  const rng = new SeededRng(6);
  const all = listOf("abcdefgh");
  const shuffled = (): Item[] => all.filter(() => rng.next() < 0.7).sort(() => rng.next() - 0.5);
  for (let round = 0; round < 200; round++) {
    const [before, after] = [shuffled(), shuffled()];
    const { removed, added } = diffLists(before, after, nameOf);
    const rest = before.filter((each) => !removed.includes(each));
    expect(text([...rest, ...added].sort((a, b) => (a.name < b.name ? -1 : 1)))).toBe(
      text(after.toSorted((a, b) => (a.name < b.name ? -1 : 1))),
    );
  }
});

test("many edits at once", () => {
  const list = Array.from({ length: 5_000 }, (_, i) => ({ name: String(i).padStart(6, "0") }));
  const odd = list.filter((_, i) => i % 2 === 1);
  expect(patchList(list, odd.map(nameOf), [], nameOf)).toEqual(list.filter((_, i) => i % 2 === 0));
});
