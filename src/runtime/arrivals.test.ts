import { expect, test } from "bun:test";
import type { Bytes } from "../core/bytes.ts";
import { ARRIVAL_LIMITS } from "../core/limits.ts";
import { Arrivals, type Arriving } from "./arrivals.ts";

/** Notes what it hears in a list that all share. */
class Listener implements Arriving {
  arrivals = 0;

  constructor(
    readonly name: string,
    readonly heard: string[],
    readonly onBytes: (bytes: Bytes) => void = () => {},
  ) {}

  arrive(bytes: Bytes): void {
    this.heard.push(`${this.name}${bytes[0]}`);
    this.onBytes(bytes);
  }
}

const piece = (value: number, length = 1): Bytes => new Uint8Array(length).fill(value);
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what came in one poll is told after it, in order, and what joined runs once behind all of it", async () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  const joined = (): boolean => arrivals.join(() => void heard.push("end"));
  let first = true;
  const a = new Listener("a", heard, () => {
    if (first) expect(joined()).toBe(true);
    first = false;
  });
  const b = new Listener("b", heard);
  expect(joined()).toBe(false);
  arrivals.add(a, piece(1));
  arrivals.add(b, piece(2));
  arrivals.add(a, piece(3));
  expect(heard).toEqual([]);
  expect([a.arrivals, b.arrivals]).toEqual([2, 1]);
  await nextTurn();
  expect(heard).toEqual(["a1", "b2", "a3", "end"]);
  expect([a.arrivals, b.arrivals]).toEqual([0, 0]);
  arrivals.add(b, piece(4));
  await nextTurn();
  expect(heard).toEqual(["a1", "b2", "a3", "end", "b4"]);
});

test("as many pieces, or as many bytes, as the limits say are told before the next of another socket; one less waits", () => {
  for (const [pieces, bytes] of [
    [ARRIVAL_LIMITS.pieces, 1],
    [2, ARRIVAL_LIMITS.bytes / 2],
  ] as const) {
    const heard: string[] = [];
    const arrivals = new Arrivals();
    const a = new Listener("a", heard);
    const b = new Listener("b", heard);
    for (let i = 0; i < pieces - 1; i++) arrivals.add(a, piece(1, bytes));
    arrivals.add(b, piece(2, bytes));
    expect(heard.length).toBe(0);
    arrivals.add(a, piece(3, bytes));
    expect(heard.length).toBe(pieces);
    expect([a.arrivals, b.arrivals]).toEqual([1, 0]);
  }
});

test("one socket alone does not make a batch without a bound", () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  const a = new Listener("a", heard);
  arrivals.add(a, piece(1, ARRIVAL_LIMITS.bytes));
  expect(heard.length).toBe(1);
  for (let i = 0; i < 2 * ARRIVAL_LIMITS.pieces; i++) arrivals.add(a, piece(1));
  expect(heard.length).toBe(1 + 2 * ARRIVAL_LIMITS.pieces);
});

test("what ends a batch follows the data within it, before what joined", () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  const a = new Listener("a", heard, () => {
    arrivals.join(() => void heard.push("joined"));
    expect(arrivals.handOn(() => void heard.push("never"))).toBe(false);
  });
  arrivals.add(a, piece(1));
  expect(arrivals.handOn(() => void heard.push("a ends"))).toBe(true);
  expect(heard).toEqual(["a1", "a ends", "joined"]);
});

test("handing on while it is under way does nothing; what comes meanwhile is told in its turn", () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  const b = new Listener("b", heard);
  const a = new Listener("a", heard, () => {
    arrivals.add(b, piece(9));
    arrivals.handOn();
    heard.push("a done");
  });
  arrivals.add(a, piece(1));
  arrivals.add(b, piece(2));
  arrivals.handOn();
  expect(heard).toEqual(["a1", "a done", "b2", "b9"]);
});

test("who throws with nobody to blame stops the batch, not what waits behind it", async () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  const a = new Listener("a", heard, () => {
    arrivals.join(() => void heard.push("end"));
    throw new Error("a bug");
  });
  arrivals.add(a, piece(1));
  arrivals.add(new Listener("b", heard), piece(2));
  expect(() => arrivals.handOn()).toThrow("a bug");
  expect(heard).toEqual(["a1", "end"]);
  await nextTurn();
  expect(heard).toEqual(["a1", "end", "b2"]);
});

test("what throws when a batch has ended is not run again; what waits behind it is", () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  let first = true;
  const a = new Listener("a", heard, () => {
    if (!first) return;
    first = false;
    arrivals.join(() => {
      heard.push("end");
      throw new Error("a bug");
    });
    arrivals.join(() => void heard.push("other end"));
  });
  arrivals.add(a, piece(1));
  expect(() => arrivals.handOn()).toThrow("a bug");
  expect(heard).toEqual(["a1", "end"]);
  arrivals.add(a, piece(2));
  arrivals.handOn();
  arrivals.handOn();
  expect(heard).toEqual(["a1", "end", "a2", "other end"]);
});

test("when polls bring one piece each for a while, pieces are told at once, until a poll brings more again", async () => {
  const heard: string[] = [];
  const arrivals = new Arrivals();
  const [a, b] = [new Listener("a", heard), new Listener("b", heard)];
  /** How many pieces of `count` in one poll were told before it was over. */
  const poll = async (count: number): Promise<number> => {
    const before = heard.length;
    for (let i = 0; i < count; i++) arrivals.add(i % 2 === 0 ? a : b, piece(i));
    const told = heard.length - before;
    await nextTurn();
    expect(heard.slice(before)).toEqual(Array.from({ length: count }, (_, i) => `${i % 2 === 0 ? "a" : "b"}${i}`));
    return told;
  };
  for (let i = 0; i < 40; i++) await poll(1);
  const lone: number[] = [];
  for (let i = 0; i < 170; i++) lone.push(await poll(1));
  expect(lone.filter((told) => told === 0).length).toBe(10);
  // Busy again: found out within some pieces, and forgotten only after a while.
  for (let i = 0; i < 17; i++) await poll(2);
  const busy: number[] = [];
  for (let i = 0; i < 20; i++) busy.push(await poll(3), await poll(1));
  expect(busy.every((told) => told === 0)).toBe(true);
});
