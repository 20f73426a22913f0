import { expect, test } from "bun:test";
import { filterConfig } from "../../../test/kit/filters.ts";
import { VirtualClock } from "../../core/clock.ts";
import { JsonLog } from "../../core/log.ts";
import { LogGate } from "./log-gate.ts";

const [DEBUG, INFO] = [1, 2];

function makeGate(level: "debug" | "info") {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const log = new JsonLog(level, clock, (line) => lines.push(line));
  return { gate: new LogGate(filterConfig({ budget: { logLinesPerSecond: 3 } }), log, clock), clock, lines };
}

test("lines beyond those of a second are counted and told", () => {
  const { gate, clock, lines } = makeGate("debug");
  for (let i = 0; i < 3; i++) gate.write(DEBUG, `d${i}`);
  for (let i = 0; i < 2; i++) gate.write(INFO, `i${i}`);
  clock.advance(1000);
  gate.write(INFO, "later");
  expect(lines.map((line) => JSON.parse(line).message)).toEqual([
    ...["d0", "d1", "d2", "log lines of a filter were dropped", "later"],
  ]);
  expect(JSON.parse(lines[3] ?? "").lines).toBe(2);
});

test("lines that nobody sees use up nothing", () => {
  const { gate, lines } = makeGate("info");
  for (let i = 0; i < 100; i++) gate.write(DEBUG, "refused");
  gate.write(INFO, "seen");
  expect(lines.map((line) => JSON.parse(line).message)).toEqual(["seen"]);
});
