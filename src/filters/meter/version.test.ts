// Rewritten modules are kept on disk under METER_VERSION: bytes that change without it would leave old ones in use.
import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { buildPuppet } from "../../../test/kit/puppet.ts";
import { randomModule } from "../../../test/kit/random-module.ts";
import { SeededRng } from "../../core/rng.ts";
import { METER_VERSION, meterModule } from "./index.ts";

/** What each version makes of the modules below; the last one is in use. */
const OUTPUT: readonly (readonly [version: number, digest: string])[] = [
  [2, "391e60b56db47df38b04f329b53aedec"],
  [3, "57fab8f09d95863acf261710b3f826b1"],
];

test("other bytes have another version", () => {
  const output = createHash("sha256");
  const options = { fuel: 1_000_000, memoryBytes: 8 * 65_536, tableElements: 1_000 };
  const modules = [buildPuppet(), ...Array.from({ length: 40 }, (_, seed) => randomModule(new SeededRng(seed)).wasm)];
  for (const wasm of modules) output.update(meterModule(wasm, options).bytes);
  const digest = output.digest("hex").slice(0, 32);
  const hint =
    "the meter writes other bytes: raise METER_VERSION and add a line to OUTPUT (unless only the modules of the test changed)";
  expect([METER_VERSION, digest, hint]).toEqual([...(OUTPUT.at(-1) ?? []), hint]);
});
