import { expect, test } from "bun:test";
import { type Clock, VirtualClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import type { FromWorker } from "./messages.ts";
import { WORKER_TIMES, WorkerSlot } from "./worker-slot.ts";

/** A slot whose worker answers as told, on a clock that can jump over everything, as it does for a process that was stopped. */
function watched() {
  const timers = new VirtualClock();
  let stoppedMs = 0;
  const clock: Clock = {
    nowMs: () => timers.nowMs() + stoppedMs,
    wallMs: () => timers.wallMs(),
    setTimer: (delayMs, fire) => timers.setTimer(delayMs, fire),
  };
  let say: (message: FromWorker) => void = () => undefined;
  let [kills, answers] = [0, true];
  const slot = new WorkerSlot(
    0,
    (_, onMessage) => {
      say = onMessage;
      return { pid: 1, send: () => true, kill: () => void kills++ };
    },
    { onOutcome: () => undefined, onPublish: () => undefined, onReport: () => undefined, onGone: () => undefined },
    clock,
    SILENT_LOG,
  );
  slot.start();
  say({ type: "ready" });
  return {
    kills: () => kills,
    becomeSilent: () => {
      answers = false;
    },
    stop: (ms: number) => {
      stoppedMs += ms;
    },
    pollFor(ms: number) {
      for (let passedMs = 0; passedMs < ms; passedMs += WORKER_TIMES.pollMs) {
        timers.advance(WORKER_TIMES.pollMs);
        void slot.poll(false, WORKER_TIMES.pollMs);
        if (answers) say({ type: "drained" });
      }
    },
  };
}

test("time in which the supervisor itself did not run is held against no worker", () => {
  const slot = watched();
  slot.pollFor(3 * WORKER_TIMES.pollMs);
  slot.stop(100 * WORKER_TIMES.hungMs);
  slot.pollFor(3 * WORKER_TIMES.hungMs);
  expect(slot.kills()).toBe(0);
});

test("a worker that is silent is killed once, whether or not the supervisor was stopped meanwhile", () => {
  for (const stoppedMs of [0, 100 * WORKER_TIMES.hungMs]) {
    const slot = watched();
    slot.pollFor(2 * WORKER_TIMES.pollMs);
    slot.becomeSilent();
    slot.stop(stoppedMs);
    slot.pollFor(WORKER_TIMES.hungMs - WORKER_TIMES.pollMs);
    expect(slot.kills()).toBe(0);
    slot.pollFor(3 * WORKER_TIMES.pollMs);
    expect(slot.kills()).toBe(1);
  }
});
