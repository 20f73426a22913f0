import { expect, test } from "bun:test";
import { VirtualClock } from "../../core/clock.ts";
import { SeededRng } from "../../core/rng.ts";
import { RateLimitFunction } from "./foreign.ts";
import {
  ALLOWED,
  FULL,
  type RateLimitQuestion,
  RateLimitTable,
  REFUSED,
  tableBytes,
  UNITS_PER_MS,
  WINDOW_SLOTS,
} from "./table.ts";

const memory = (slots: number) => new BigInt64Array(new SharedArrayBuffer(tableBytes(slots)));

function question(key: number, increment: number, capacity: number, shadow = false): RateLimitQuestion {
  const rng = new SeededRng(key + 1);
  const hash = new Uint32Array([rng.below(2 ** 32), rng.below(2 ** 32), rng.below(2 ** 32), rng.below(2 ** 32)]);
  return { hash, increment, capacity, shadow, outcome: 0, level: 0 };
}

/** GCRA in the plainest words: one TAT per key. */
class Model {
  readonly tats = new Map<number, number>();
  constructor(readonly now: () => number) {}
  decide(asked: { key: number; increment: number; capacity: number }[]): boolean {
    const now = this.now();
    const next = new Map<number, number>();
    for (const { key, increment, capacity } of asked) {
      const tat = Math.max(this.tats.get(key) ?? 0, now) + increment;
      if (tat - now > capacity) return false;
      next.set(key, tat);
    }
    for (const [key, tat] of next) this.tats.set(key, tat);
    return true;
  }
}

test("a table answers like the model for any mix of keys, costs and times", () => {
  for (let seed = 1; seed <= 30; seed++) {
    const rng = new SeededRng(seed);
    const clock = new VirtualClock();
    const words = memory(seed % 2 === 0 ? 256 : 4096);
    // Two processes on the same memory.
    const tables = [new RateLimitTable(words, { clock }), new RateLimitTable(words, { clock })];
    const model = new Model(() => (tables[0] as RateLimitTable).nowUnits());
    let allowed = 0;
    for (let step = 0; step < 2_000; step++) {
      if (rng.next() < 0.3) clock.advance(rng.below(50));
      const first = rng.below(40);
      const asked = [first, (first + 1 + rng.below(38)) % 40].slice(0, 1 + rng.below(2)).map((key) => {
        const interval = (1 + (key % 7)) * UNITS_PER_MS;
        return { key, increment: interval * (1 + rng.below(3)), capacity: interval * (1 + (key % 11)) };
      });
      const questions = asked.map((each) => question(each.key, each.increment, each.capacity));
      const decided = (tables[rng.below(2)] as RateLimitTable).decide(questions, questions.length);
      expect({ seed, step, decided }).toEqual({ seed, step, decided: model.decide(asked) });
      if (decided) allowed++;
    }
    expect(allowed).toBeGreaterThan(100);
    expect(allowed).toBeLessThan(1_990);
  }
});

test("idle slots are taken over: far more keys than slots pass over time, each exact", () => {
  const clock = new VirtualClock();
  const table = new RateLimitTable(memory(WINDOW_SLOTS), { clock });
  for (let key = 0; key < 5_000; key++) {
    const each = question(key, 1000 * UNITS_PER_MS, 2000 * UNITS_PER_MS);
    expect([table.decide([each], 1), table.decide([each], 1), table.decide([each], 1)]).toEqual([true, true, false]);
    clock.advance(50);
  }
  expect(table.fullCount).toBe(0);
});

test("a full window denies by default, allows when told so, and is counted", () => {
  const clock = new VirtualClock();
  for (const whenFull of ["deny", "allow"] as const) {
    const table = new RateLimitTable(memory(WINDOW_SLOTS), { clock, whenFull });
    for (let key = 0; key < WINDOW_SLOTS; key++) expect(table.decide([question(key, 1e7, 1e8)], 1)).toBe(true);
    const late = question(1000, 1e7, 1e8);
    expect(table.decide([late], 1)).toBe(whenFull === "allow");
    expect(late.outcome).toBe(whenFull === "allow" ? ALLOWED : FULL);
    expect(table.fullCount).toBe(1);
    expect(table.countUsed()).toBe(WINDOW_SLOTS);
    clock.advance(1001);
    expect(table.decide([late], 1)).toBe(true);
  }
});

test("a shadow limit consumes and reports but never refuses; a refusal consumes nothing anywhere", () => {
  const clock = new VirtualClock();
  const table = new RateLimitTable(memory(256), { clock });
  const shadow = question(1, 1e7, 1e7, true);
  expect(table.decide([shadow], 1)).toBe(true);
  expect(table.decide([shadow], 1)).toBe(true);
  expect(shadow.outcome).toBe(REFUSED);
  const wide = question(2, 1e7, 5e7);
  const narrow = question(3, 1e7, 1e7);
  expect(table.decide([wide, narrow], 2)).toBe(true);
  for (let i = 0; i < 10; i++) expect(table.decide([wide, narrow], 2)).toBe(false);
  expect(wide.level).toBe(1e7);
  for (let i = 0; i < 4; i++) expect(table.decide([wide], 1)).toBe(true);
  expect(table.decide([wide], 1)).toBe(false);
});

test("time never goes back, whatever the wall clock of a process that starts later says", () => {
  const words = memory(256);
  const first = new VirtualClock(1_700_000_000_000);
  const table = new RateLimitTable(words, { clock: first });
  first.advance(60_000);
  const before = table.nowUnits();
  const late = new RateLimitTable(words, { clock: new VirtualClock(1_600_000_000_000) });
  expect(late.nowUnits()).toBe(before);
  first.advance(1000);
  expect(table.nowUnits()).toBe(before + 1000 * UNITS_PER_MS);
});

test("a slot left in any unfinished state is taken over or finished by the next one who needs it", () => {
  const clock = new VirtualClock();
  const each = question(7, 1e7, 3e7);
  const fresh = memory(WINDOW_SLOTS);
  new RateLimitTable(fresh, { clock }).decide([each], 1);
  const slot = fresh.findIndex((word, at) => at >= 16 && at % 4 === 0 && word !== 0n);
  const whole = fresh[slot] as bigint;
  const bits = (phase: bigint) => BigInt.asIntN(64, (whole & ~(3n << 50n)) | (phase << 50n));
  for (const [state, keys] of [
    [bits(1n), 0],
    [bits(1n), 1],
    [bits(1n), 2],
    [bits(2n), 2],
  ] as const) {
    const words = memory(WINDOW_SLOTS);
    words.set(fresh.subarray(0, 16));
    words[slot] = state;
    for (let key = 0; key < keys; key++) words[slot + 1 + key] = fresh[slot + 1 + key] as bigint;
    const table = new RateLimitTable(words, { clock });
    const answers = [1, 2, 3, 4].map(() => table.decide([each], 1));
    // What had not become LIVE was never consumed, except that a tentative slot keeps the time it was made with.
    expect(answers.filter(Boolean).length).toBe(keys === 2 && state === bits(2n) ? 2 : 3);
  }
});

test("the foreign function speaks the filter's binary form and refuses malformed arguments", () => {
  const table = new RateLimitTable(memory(256), { clock: new VirtualClock() });
  const limiter = new RateLimitFunction(table);
  // In the middle of a larger memory, as a guest's arguments are.
  const call = (args: Uint8Array) => {
    const memory = new Uint8Array(args.length + 16);
    memory.set(args, 8);
    return limiter.call(new DataView(memory.buffer), 8, args.length);
  };
  expect(call(new Uint8Array(0))).toEqual(table.secret());
  const args = new DataView(new ArrayBuffer(80));
  for (const [at, seed] of [
    [0, 1],
    [40, 2],
  ] as const) {
    args.setUint32(at, seed, true);
    args.setBigUint64(at + 16, 10_000_000n, true);
    args.setBigUint64(at + 24, 60_000_000_000n, true);
  }
  const answer = new DataView((call(new Uint8Array(args.buffer)) as Uint8Array).slice().buffer);
  expect([
    answer.getBigInt64(0, true),
    answer.getUint32(8, true),
    answer.getBigInt64(16, true),
    answer.getUint32(24, true),
  ]).toEqual([10_000_000n, 1, 10_000_000n, 1]);
  for (const length of [1, 39, 41, 40 * 17]) expect(call(new Uint8Array(length))).toBeUndefined();
  // An increment of nothing.
  expect(call(new Uint8Array(40))).toBeUndefined();
});
