import { expect, test } from "bun:test";
import { type ProxyStatusMessage, REVISION_MAX } from "../../config/nats/status.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { readStatus } from "./read-status.ts";

const event = { kind: "filter_broke", subject: "default/f", reason: "trap", count: 1, firstMs: 1, lastMs: 2, worker: 3 };
const status: ProxyStatusMessage = {
  ...{
    id: "p",
    group: "g",
    version: "1",
    revision: REVISION_MAX,
    digest: "d",
    applyMs: 1.5,
    rejectedRevision: 0,
    leaving: false,
  },
  issues: [{ code: "c", message: "m", hint: "", resource: "", path: "", file: "", line: 0, column: 0, more: 3 }],
  events: [],
};
const read = (part: object): ProxyStatusMessage | undefined => readStatus(utf8Bytes(JSON.stringify({ ...status, ...part })));
const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth));

test("a status is taken as it is, with what a newer version adds, and that of a former one", () => {
  for (const part of [{}, { events: [event] }, { events: undefined }, { more: nested(CONFIG_LIMITS.depth - 1) }])
    expect(read(part)).toEqual(JSON.parse(JSON.stringify({ ...status, ...part })));
});

test("what no proxy says is no status", () => {
  const [issue] = status.issues;
  const lies: object[] = [
    ...["id", "group", "version", "digest", "revision", "rejectedRevision", "applyMs", "issues", "leaving"].flatMap((name) =>
      [undefined, null, {}].map((value) => ({ [name]: value })),
    ),
    ...[-1, 1.5, REVISION_MAX + 1].flatMap((value) => [{ revision: value }, { rejectedRevision: value }]),
    ...[null, 1, {}, { ...issue, message: 7 }, { ...issue, line: "1" }, { ...issue, more: -1 }].map((each) => ({
      issues: [each],
    })),
    ...[null, 1, {}, { ...event, lastMs: 1e300 }, { ...event, subject: 7 }, { ...event, count: "many" }].map((each) => ({
      events: [each],
    })),
    { events: "none" },
  ];
  for (const lie of lies) expect([lie, read(lie)]).toEqual([lie, undefined]);
  for (const text of ["null", "7", "[]", '"x"']) expect(readStatus(utf8Bytes(text))).toBeUndefined();
  expect(() => read({ more: nested(CONFIG_LIMITS.depth) })).toThrow("nested deeper");
  expect(() => readStatus(utf8Bytes("no JSON"))).toThrow();
});
