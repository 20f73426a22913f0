import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { lockProblems } from "../scripts/lock.ts";

const integrity = `sha512-${"A".repeat(86)}==`;
const lockOf = (entry: object): string =>
  JSON.stringify({
    packages: { "": { name: "x" }, "packages/own": {}, "node_modules/own": { link: true }, "node_modules/a": entry },
  });

test("a lock file names every package by its content and none by an address", () => {
  expect(lockProblems(lockOf({ version: "1.0.0", integrity }))).toEqual([]);
  expect(lockProblems(lockOf({ version: "1.0.0", optional: true, os: ["darwin"] }))).toHaveLength(1);
  expect(lockProblems(lockOf({ integrity: "sha1-abc" }))).toHaveLength(1);
  expect(lockProblems(lockOf({ integrity, resolved: "https://registry.example/a.tgz" }))).toHaveLength(1);
});

test("ours does, for machines of every kind", () => {
  const text = readFileSync(new URL("../package-lock.json", import.meta.url), "utf8");
  expect(lockProblems(text)).toEqual([]);
  expect(text).toContain("darwin-arm64");
});
