import { expect, setDefaultTimeout, test } from "bun:test";
import { findFlips, findMutants, findSurvivingFlips, findSurvivors } from "../../scripts/mutate-codec.ts";
import { TEST_MS } from "../kit/patience.ts";

setDefaultTimeout(TEST_MS);

test("a codec without any one of its checks fails a golden case", async () => {
  const mutants = findMutants();
  expect(mutants.length).toBeGreaterThan(100);
  const survivors = await findSurvivors(mutants);
  expect(survivors.map(({ file, line, check }) => `${file}:${line} ${check}`)).toEqual([]);
});

test("tables with any single entry flipped fail a probe of its byte", () => {
  const flips = findFlips();
  expect(flips.length).toBeGreaterThan(12 * 256);
  // Nothing was left changed, and the probes hold without a change.
  expect(findSurvivingFlips([])).toEqual([]);
  expect(findSurvivingFlips(flips)).toEqual([]);
  expect(findSurvivingFlips([{ table: "TOKEN", byte: 0x61, value: 1 }])).toHaveLength(1);
});
