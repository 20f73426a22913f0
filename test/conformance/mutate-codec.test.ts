import { expect, test } from "bun:test";
import { findMutants, findSurvivors } from "../../scripts/mutate-codec.ts";

test("a codec without any one of its checks fails a golden case", async () => {
  const mutants = findMutants();
  expect(mutants.length).toBeGreaterThan(100);
  const survivors = await findSurvivors(mutants);
  expect(survivors.map(({ file, line, check }) => `${file}:${line} ${check}`)).toEqual([]);
}, 90_000);
