import { expect, test } from "bun:test";
import { Failure } from "../../core/failure.ts";
import { SeededRng } from "../../core/rng.ts";
import { normalisePath, renormalisePath } from "./path.ts";

const KEEP = { encodedSlash: "keep", doubleSlash: "keep", semicolon: "keep" } as const;

test("what a rewrite made is normalised again: a stripped prefix cannot leave the root", () => {
  expect(renormalisePath("../admin", KEEP)).toBeInstanceOf(Failure);
  expect(renormalisePath("/../admin", KEEP)).toBeInstanceOf(Failure);
  expect(renormalisePath("/x/../admin", KEEP)).toEqual({ path: "/admin", query: undefined });
  expect(renormalisePath("", KEEP)).toBeInstanceOf(Failure);
});

test("normalising twice changes nothing", () => {
  for (const target of ["/a/%7e/./b", "/a|b", "/%c3%a9", "/a;b/c", "/%2f%5c", "/a//b?x=%zz"]) {
    const once = normalisePath(target, KEEP);
    if (once instanceof Failure) throw new Error(once.toString());
    expect(normalisePath(once.path, KEEP)).toEqual({ path: once.path, query: undefined });
  }
});

test("normalising twice changes nothing, whatever was accepted (seeded)", () => {
  const rng = new SeededRng(25);
  const pieces = [
    "%25",
    "%",
    "2",
    "5",
    "e",
    "%2e",
    "%32",
    "%65",
    "%2f",
    "%5c",
    ".",
    "..",
    "/",
    ";",
    "%3b",
    "a",
    "|",
    "%c3%a9",
    "%c0",
    "%80",
  ];
  let accepted = 0;
  for (let i = 0; i < 50_000; i++) {
    let target = "/";
    for (let n = 1 + rng.below(7); n > 0; n--) target += pieces[rng.below(pieces.length)];
    for (const doubleSlash of ["keep", "merge"] as const) {
      const once = normalisePath(target, { ...KEEP, doubleSlash });
      if (once instanceof Failure) continue;
      accepted++;
      expect(normalisePath(once.path, { ...KEEP, doubleSlash })).toEqual({ path: once.path, query: undefined });
    }
  }
  expect(accepted).toBeGreaterThan(1_000);
});
