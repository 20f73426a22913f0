import { expect, test } from "bun:test";
import { sha256Digest } from "../canonical.ts";
import { seal, sealedName, unseal } from "./seal.ts";

const bytes = new TextEncoder().encode('{"routes":[1,2,3]}');
const digest = sha256Digest(bytes);
const other = sha256Digest("other");

test("what was sealed opens with its digest", () => {
  expect(unseal(seal(bytes, digest), digest)).toEqual(Buffer.from(bytes));
  expect(sealedName(digest)).not.toContain(digest.slice(7, 20));
});

test("forged, truncated, swapped or flipped: refused", () => {
  const sealed = Buffer.from(seal(bytes, digest));
  for (let length = 0; length < sealed.length; length++) expect(() => unseal(sealed.subarray(0, length), digest)).toThrow();
  for (let at = 0; at < sealed.length; at++) {
    const flipped = Buffer.from(sealed);
    flipped[at] = (flipped[at] ?? 0) ^ 1;
    expect(() => unseal(flipped, digest)).toThrow();
  }
  expect(() => unseal(Buffer.concat([sealed, Buffer.from([0])]), digest)).toThrow();
  expect(() => unseal(sealed, other)).toThrow();
  // Well sealed for that digest by somebody who knows it, but with other contents.
  expect(() => unseal(seal(new TextEncoder().encode("{}"), digest), digest)).toThrow(/digest/);
});
