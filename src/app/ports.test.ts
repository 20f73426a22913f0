import { expect, test } from "bun:test";
import { hintOf } from "./ports.ts";

test("a port that needs more rights is told how it gets them, one that is in use whose it may be", () => {
  for (const code of ["EACCES", "EPERM"]) expect(hintOf(code, 443)).toContain("CAP_NET_BIND_SERVICE");
  expect(hintOf("EADDRINUSE", 8080)).toContain("stop what uses port 8080");
  expect(hintOf("EADDRNOTAVAIL", 8080)).toBe("change the address of this listener");
});
