// Rewritten modules are kept on disk under METER_VERSION: bytes that change without it would leave old ones in use.
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { randomModule } from "../../../test/kit/random-module.ts";
import { SeededRng } from "../../core/rng.ts";
import { METER_VERSION, meterModule } from "./index.ts";

/** What each version makes of the modules below, plain and for instances that are put back; the last one is in use. */
const OUTPUT: readonly (readonly [version: number, digest: string, keeping: string])[] = [
  [3, "0cd656edcd2e79970a573c81e1a7f75c", "c6ac28378d64a56128f6c17ea35b5dfb"],
  [4, "0cd656edcd2e79970a573c81e1a7f75c", "2630adcbe8815e505d2b436586e7b05b"],
  [5, "ac2ba779f51c36d155f3c7d04697ba54", "efb9aad381efcf31829748b1309e9120"],
];

test("other bytes have another version", () => {
  const options = { fuel: 1_000_000, memoryBytes: 8 * 65_536, tableElements: 1_000 };
  const modules = Array.from({ length: 60 }, (_, seed) => randomModule(new SeededRng(seed)).wasm);
  const digestOf = (keeps: boolean): string => {
    const output = createHash("sha256");
    for (const wasm of modules) output.update(meterModule(wasm, { ...options, keeps }).bytes);
    return output.digest("hex").slice(0, 32);
  };
  const hint =
    "the meter writes other bytes: raise METER_VERSION and add a line to OUTPUT (unless only the modules of the test changed)";
  expect([METER_VERSION, digestOf(false), digestOf(true), hint]).toEqual([...(OUTPUT.at(-1) ?? []), hint]);
});
