// Invariant: preparing never makes an invalid module valid nor a valid one invalid, and throws nothing but an Error that says why.
import { expect, test } from "bun:test";
import { buildPuppet } from "../../../test/kit/puppet.ts";
import { DEFAULT_FILTER_BUDGET } from "../../core/limits.ts";
import { SeededRng } from "../../core/rng.ts";
import { boundsOf, prepareModule } from "./prepare.ts";

const prepare = (wasm: Uint8Array): Uint8Array<ArrayBuffer> | string => {
  try {
    return prepareModule(wasm, boundsOf(DEFAULT_FILTER_BUDGET)).bytes;
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return (error as Error).message;
  }
};

test("mutated modules", () => {
  const rng = new SeededRng(20261121);
  const original = buildPuppet();
  let valid = 0;
  for (let i = 0; i < 4_000; i++) {
    const mutant = original.slice(0, rng.below(8) === 0 ? rng.below(original.length) : original.length);
    // Mostly where the small sections are: a change in the code section is found by the engine alone.
    for (let k = rng.below(4); k >= 0; k--) {
      const at = rng.below(2) === 0 ? rng.below(mutant.length) : Math.max(0, mutant.length - 1 - rng.below(600));
      mutant[at] = rng.below(256);
    }
    const prepared = prepare(mutant);
    if (typeof prepared === "string") continue;
    expect(WebAssembly.validate(prepared)).toBe(WebAssembly.validate(mutant));
    if (WebAssembly.validate(mutant)) valid++;
  }
  expect(valid).toBeGreaterThan(20);
});

test("what is prepared is not prepared again", () => {
  expect(prepare(prepare(buildPuppet()) as Uint8Array<ArrayBuffer>)).toContain("selvedge:fuel");
});

test("refuses what it cannot bound, and what is not valid", () => {
  const section = (id: number, ...body: number[]): Uint8Array =>
    Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, id, body.length, ...body]);
  const memories = (...limits: number[]): Uint8Array => section(5, ...limits);
  const tables = (...limits: number[]): Uint8Array => section(4, ...limits);
  expect(prepare(memories(1, 3, 1, 1))).toContain("shared memory");
  expect(typeof prepare(memories(1, 4, 1))).toBe("string");
  expect(typeof prepare(memories(2, 0, 1, 0, 1))).toBe("string");
  // 65,537 pages are invalid: cutting the maximum would hide that.
  expect(prepare(memories(1, 1, 1, 0x81, 0x80, 0x04))).toContain("not valid");
  expect(prepare(memories(1, 1, 9, 1))).toContain("not valid");
  expect(prepare(memories(1, 0, 1, 9))).toContain("not valid");
  expect(prepare(memories(1, 0, 0x81, 8))).toContain("1025 pages");
  expect(prepare(tables(1, 0x70, 0, 0xc1, 0x84, 0x3d))).toContain("a table of 1000001");
  expect(typeof prepare(memories(1, 0, 0x80, 8))).toBe("object");
  expect(typeof prepare(tables(1, 0x70, 0, 0xc0, 0x84, 0x3d))).toBe("object");
});
