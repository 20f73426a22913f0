import { describe, expect, test } from "bun:test";
import type { FaultKind } from "../stats.ts";
import {
  DENIED_CALL,
  describeBreach,
  describeTrap,
  faultKindOf,
  hostFailure,
  hostThrew,
  outOfFuel,
  outOfStartFuel,
  reentered,
  TOO_DEEP,
  TOO_MANY_HOST_CALLS,
  wrongType,
} from "./faults.ts";

/** What breaks an instance, as the hosts say it, and what each counts as. */
const REASONS: readonly (readonly [string, FaultKind])[] = [
  [outOfFuel(1, "in one callback"), "fuel"],
  [outOfFuel(1, "in one exchange"), "fuel"],
  [outOfStartFuel(1, 1), "fuel"],
  [TOO_DEEP, "depth"],
  [describeTrap(new RangeError("x")), "depth"],
  [describeTrap(new WebAssembly.RuntimeError("Unreachable code should not be executed")), "trap"],
  [describeTrap(new WebAssembly.RuntimeError("memory access out of bounds")), "memory"],
  [describeTrap(new WebAssembly.RuntimeError("Out of bounds call_indirect table access")), "memory"],
  [describeTrap({}), "trap"],
  ["trap: unreachable code, in the allocator", "trap"],
  ["abort: more than 5 at x:1:2", "trap"],
  ["the guest aborted", "trap"],
  ["the guest exited with code 1", "trap"],
  [hostFailure(new TypeError("more than that")), "host"],
  [hostThrew(new TypeError("trap: x")), "host"],
  [reentered("on_request"), "host"],
  [wrongType("proxy_on_log"), "answer"],
  [TOO_MANY_HOST_CALLS, "budget"],
  [`${DENIED_CALL} services by http_request (capabilities.callouts)`, "denied"],
  // Extism
  ["its variables are larger than its budget", "budget"],
  ["more than 1024 bytes in the name of a variable", "budget"],
  ["more than 8 calls of http_request in one callback", "budget"],
  // Components: what a guest does against the rules of their calls.
  ...(
    [
      ["more than 10 calls to the host in one callback", "budget"],
      ["more than its budget of calls to the host in one exchange", "budget"],
      ["it hands over more bytes than one call may", "budget"],
      ["it hands over more values than one call may", "budget"],
      ["more than 5 handles", "budget"],
      ["more than 65536 random bytes at once", "budget"],
      [`${DENIED_CALL} wasi:random (capabilities.random)`, "denied"],
      ["a pointer beyond the memory", "memory"],
      ["a pointer that is not aligned", "trap"],
      ["a string that is not UTF-8", "trap"],
      ["a handle that does not exist", "trap"],
      ["a variant with a case that does not exist (9 of 2)", "trap"],
    ] as const
  ).map(([words, kind]) => [describeBreach(words), kind] as const),
];

describe("what a fault counts as", () => {
  for (const [reason, kind] of REASONS)
    test(`${reason}: ${kind}`, () => {
      expect(faultKindOf(reason)).toBe(kind);
    });

  test("a guest's own words come behind ours, and choose nothing", () => {
    expect(faultKindOf("the plug-in says: the host failed: x")).toBe("other");
    expect(describeBreach("a string that is not UTF-8")).toBe("trap: a string that is not UTF-8");
  });
});
