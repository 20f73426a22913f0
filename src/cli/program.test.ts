import { expect, test } from "bun:test";
import { asTyped } from "./program.ts";

test("commands as they are typed, in bold letters as well; what is no command stays", () => {
  const terminal = { env: { SELVEDGE_PROGRAM: "npx selvedge" } };
  expect(asTyped("\u001b[1mselvedge diff\u001b[0m: run selvedge diff -f a.yaml", terminal)).toBe(
    "\u001b[1mnpx selvedge diff\u001b[0m: run npx selvedge diff -f a.yaml",
  );
  expect(asTyped("selvedge does it; my-selvedge.yaml", terminal)).toBe("selvedge does it; my-selvedge.yaml");
});
