import { expect, test } from "bun:test";
import type { Change, LogEntry } from "../store/store.ts";
import { differenceBetween } from "./difference.ts";
import type { ResourceKey } from "./resource.ts";

const A = "Service/default/a" as ResourceKey;
const B = "Route/default/b" as ResourceKey;
const entry = (revision: number, ...changes: Change[]): LogEntry => ({
  ...{ revision, previous: revision - 1, author: "", origin: "api", timeMs: 0, digest: "", inboxSequence: 0, changes },
});
/** The newest first; revisions may have gaps. */
const HISTORY = [
  entry(9, { key: A, before: { v: 3 } }),
  entry(7, { key: A, before: { v: 2 }, after: { v: 3 } }, { key: B, before: { w: 1 }, after: { w: 1, x: 1 } }),
  entry(5, { key: A, before: { v: 1 }, after: { v: 2 } }, { key: B, after: { w: 1 } }),
  entry(4, { key: A, after: { v: 1 } }),
];

test("what several applies did to a resource is one change; forth and back; what is as it was is none", () => {
  const between = (from: number, to: number) => {
    const found = differenceBetween(HISTORY, from, to);
    return "code" in found ? found.code : found.changes;
  };
  expect(between(4, 7)).toEqual([
    { key: B, after: { w: 1, x: 1 } },
    { key: A, before: { v: 1 }, after: { v: 3 } },
  ]);
  expect(between(7, 4)).toEqual([
    { key: B, before: { w: 1, x: 1 } },
    { key: A, before: { v: 3 }, after: { v: 1 } },
  ]);
  expect(between(4, 0)).toEqual([
    { key: B, after: { w: 1, x: 1 } },
    { key: A, before: { v: 1 } },
  ]);
  expect(between(5, 5)).toEqual([]);
  const undone = [
    entry(3, { key: A, before: { v: 2 }, after: { v: 1 } }),
    entry(2, { key: A, before: { v: 1 }, after: { v: 2 } }),
    entry(1),
  ];
  expect(differenceBetween(undone, 1, 3)).toEqual({ from: 1, to: 3, changes: [] });
  for (const [from, to] of [
    [6, 9],
    [4, 6],
    [0, 9],
  ] as const)
    expect(between(from, to)).toBe("unknown_revision");
  expect(differenceBetween([], 1, 0)).toMatchObject({ code: "unknown_revision" });
});
