import { expect, test } from "bun:test";
import { VirtualClock } from "../core/clock.ts";
import { Turn, TurnClock } from "./turn.ts";

test("the wall clock of a turn tells the moment that its monotonic time does, however long the turn takes", () => {
  const time = new VirtualClock(1_700_000_000_000);
  const turn = new Turn(time);
  const clock = new TurnClock(turn);
  turn.enter();
  const [nowMs, wallMs] = [clock.nowMs(), clock.wallMs()];
  time.advance(40);
  expect([clock.nowMs(), clock.wallMs()]).toEqual([nowMs, wallMs]);
  turn.renew();
  expect([clock.nowMs(), clock.wallMs()]).toEqual([nowMs + 40, wallMs + 40]);
  turn.leave();
  expect([clock.nowMs(), clock.wallMs()]).toEqual([nowMs + 40, wallMs + 40]);
});
