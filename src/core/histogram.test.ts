import { describe, expect, test } from "bun:test";
import { bucketOf, LogHistogram, TIME_SCALE, upperBoundOf, VALUE_SCALE } from "./histogram.ts";
import { SeededRng } from "./rng.ts";

describe("LogHistogram", () => {
  test("a bucket includes its upper bound and excludes the one before", () => {
    for (const scale of [TIME_SCALE, VALUE_SCALE]) {
      const last = bucketOf(scale, Number.MAX_SAFE_INTEGER);
      for (let bucket = 0; bucket < last; bucket++) {
        const bound = upperBoundOf(scale, bucket);
        expect(bucketOf(scale, bound)).toBe(bucket);
        expect(bucketOf(scale, bound + 1)).toBe(bucket + 1);
      }
      expect(upperBoundOf(scale, last)).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test("odd values land at the ends", () => {
    const last = bucketOf(TIME_SCALE, 2 ** 40);
    expect(bucketOf(TIME_SCALE, Number.NaN)).toBe(0);
    expect(bucketOf(TIME_SCALE, -5)).toBe(0);
    expect(bucketOf(TIME_SCALE, Number.POSITIVE_INFINITY)).toBe(last);
    const histogram = new LogHistogram(TIME_SCALE);
    histogram.record(-5);
    histogram.record(Number.NaN);
    expect(histogram.sum).toBe(0);
    expect(histogram.count).toBe(2);
  });

  test("quantiles are right to a quarter, against sorted values", () => {
    const rng = new SeededRng(7);
    const histogram = new LogHistogram(TIME_SCALE);
    const values = Array.from({ length: 5000 }, () => 40 + Math.exp(rng.next() * 14));
    for (const value of values) histogram.record(value);
    values.sort((a, b) => a - b);
    for (const share of [0.01, 0.5, 0.9, 0.99, 1]) {
      const exact = values[Math.ceil(values.length * share) - 1] as number;
      const told = histogram.quantile(share);
      expect(told).toBeGreaterThanOrEqual(exact);
      expect(told).toBeLessThanOrEqual(exact * 1.26 + 1);
    }
    expect(new LogHistogram(TIME_SCALE).quantile(0.5)).toBe(0);
  });

  test("sparse form carries everything, and what is not a bucket is ignored", () => {
    const rng = new SeededRng(11);
    const first = new LogHistogram(VALUE_SCALE);
    for (let i = 0; i < 500; i++) first.record(rng.below(1_000_000));
    const second = new LogHistogram(VALUE_SCALE);
    second.addSparse([...first.sparse(), 9999, 5], first.sum);
    expect([...second.counts]).toEqual([...first.counts]);
    expect(second.count).toBe(500);
    expect(second.exported()).toEqual(first.exported());
  });

  test("exported bounds are powers of two in seconds and count what is at or below them", () => {
    const histogram = new LogHistogram(TIME_SCALE);
    for (const us of [32, 33, 64, 65, 1_000_000, 1e12]) histogram.record(us);
    const at = (le: number): number | undefined => histogram.exported().find((row) => row.le === le)?.count;
    expect(at(32 / 1e6)).toBe(1);
    expect(at(64 / 1e6)).toBe(3);
    expect(at(2 ** 20 / 1e6)).toBe(5);
    expect(at(Number.POSITIVE_INFINITY)).toBe(6);
  });
});
