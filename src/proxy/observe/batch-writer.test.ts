import { expect, test } from "bun:test";
import { BATCH_LIMITS, FilePace } from "./batch-writer.ts";

const { slowMs, slowForMs, slowForMaxMs } = BATCH_LIMITS;

test("a batch that takes just the limit is quick; one that takes longer leaves the file to the other thread for a second", () => {
  const pace = new FilePace();
  pace.note(100, 100 + slowMs);
  expect(pace.isSlow(100 + slowMs)).toBe(false);
  const endMs = 200 + slowMs + 0.1;
  pace.note(200, endMs);
  expect(pace.isSlow(endMs)).toBe(true);
  expect(pace.isSlow(endMs + slowForMs - 0.1)).toBe(true);
  expect(pace.isSlow(endMs + slowForMs)).toBe(false);
});

test("a file that is slow again soon after is left alone twice as long each time, up to a minute; a quiet one begins anew", () => {
  const pace = new FilePace();
  let nowMs = 0;
  const waits: number[] = [];
  const stall = (): void => {
    pace.note(nowMs, nowMs + slowMs + 1);
    nowMs += slowMs + 1;
    const fromMs = nowMs;
    while (pace.isSlow(nowMs)) nowMs += slowForMs / 2;
    waits.push(nowMs - fromMs);
  };
  for (let i = 0; i < 9; i++) stall();
  expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 1000));
  nowMs += slowForMaxMs;
  stall();
  expect(waits.at(-1)).toBe(slowForMs);
});
