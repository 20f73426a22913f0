import { expect, test } from "bun:test";
import { VirtualClock } from "./clock.ts";
import { EventLog } from "./events.ts";
import { EVENT_LIMITS } from "./limits.ts";

test("what happens to one subject again is one entry, the newest first, with a count and the newest reason", () => {
  const clock = new VirtualClock(1000);
  const log = new EventLog(clock);
  log.add("filter_broke", "a", "one");
  clock.advance(5);
  log.add("filter_broke", "b", "other");
  log.add("filter_quarantined", "a", "too often");
  clock.advance(5);
  log.add("filter_broke", "a", "two");
  expect(log.list()).toEqual([
    { kind: "filter_broke", subject: "a", reason: "two", count: 2, firstMs: 1000, lastMs: 1010 },
    { kind: "filter_quarantined", subject: "a", reason: "too often", count: 1, firstMs: 1005, lastMs: 1005 },
    { kind: "filter_broke", subject: "b", reason: "other", count: 1, firstMs: 1005, lastMs: 1005 },
  ]);
  expect(log.list(1).length).toBe(1);
});

test("what is taken is not given again, and adds up where it is merged, by worker", () => {
  const clock = new VirtualClock(0);
  const [worker, supervisor] = [new EventLog(clock), new EventLog(clock)];
  let changes = 0;
  supervisor.onChange = () => changes++;
  for (let i = 0; i < 3; i++) worker.add("filter_broke", "a", "x");
  supervisor.merge(worker.takeNew(), 0);
  worker.add("filter_broke", "a", "y");
  supervisor.merge(worker.takeNew(), 0);
  supervisor.merge(worker.takeNew(), 0);
  supervisor.merge([{ kind: "filter_broke", subject: "a", reason: "z", count: 1, firstMs: 0, lastMs: 0 }], 1);
  expect(supervisor.list().map(({ reason, count, worker }) => [reason, count, worker])).toEqual([
    ["z", 1, 1],
    ["y", 4, 0],
  ]);
  expect(changes).toBe(3);
});

test("bounded: the oldest go first, long texts are cut, a flood about one subject pushes nothing out", () => {
  const log = new EventLog(new VirtualClock());
  for (let i = 0; i < EVENT_LIMITS.kept; i++) log.add("module_refused", `f${i}`, "");
  for (let i = 0; i < 10_000; i++) log.add("module_refused", "f0", "again");
  expect(log.list().length).toBe(EVENT_LIMITS.kept);
  expect(log.list().at(-1)?.subject).toBe("f1");
  log.add("module_refused", "new", "é".repeat(EVENT_LIMITS.textChars));
  log.add("module_refused", "long", "é".repeat(EVENT_LIMITS.textChars + 1));
  expect(log.list().length).toBe(EVENT_LIMITS.kept);
  expect(log.list().at(-1)?.subject).toBe("f3");
  expect(log.list(2).map(({ reason }) => [reason.length, reason.endsWith("…")])).toEqual([
    [EVENT_LIMITS.textChars, true],
    [EVENT_LIMITS.textChars, false],
  ]);
});
