import { expect, test } from "bun:test";
import { Failure } from "../../core/failure.ts";
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
