// Rewritten modules are kept on disk under METER_VERSION: bytes that change without it would leave old ones in use.
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { randomModule } from "../../../test/kit/random-module.ts";
import { SeededRng } from "../../core/rng.ts";
import { METER_VERSION, meterModule } from "./index.ts";

/** What each version makes of the modules below; the last one is in use. */
const OUTPUT: readonly (readonly [version: number, digest: string])[] = [[3, "0cd656edcd2e79970a573c81e1a7f75c"]];

test("other bytes have another version", () => {
  const output = createHash("sha256");
  const options = { fuel: 1_000_000, memoryBytes: 8 * 65_536, tableElements: 1_000 };
  const modules = Array.from({ length: 60 }, (_, seed) => randomModule(new SeededRng(seed)).wasm);
  for (const wasm of modules) output.update(meterModule(wasm, options).bytes);
  const digest = output.digest("hex").slice(0, 32);
  const hint =
    "the meter writes other bytes: raise METER_VERSION and add a line to OUTPUT (unless only the modules of the test changed)";
  expect([METER_VERSION, digest, hint]).toEqual([...(OUTPUT.at(-1) ?? []), hint]);
});
