import { expect, test } from "bun:test";
import process from "node:process";
import { VirtualClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";
import { serveUntilSignal } from "./serving.ts";

/** Both signals, as the group and whoever started us send them: the first counts. */
test("a signal that comes twice at once drains, one that comes a moment later stops at once", async () => {
  for (const [first, second] of [
    ["SIGTERM", "SIGTERM"],
    ["SIGINT", "SIGINT"],
    ["SIGINT", "SIGTERM"],
  ] as const) {
    const clock = new VirtualClock();
    const calls: string[] = [];
    const served = serveUntilSignal({
      drain: () => {
        calls.push("drain");
        return new Promise(() => {});
      },
      stop: async () => void calls.push("stop"),
      reopenLogs: () => {},
      ...{ log: SILENT_LOG, clock },
    });
    process.emit(first);
    process.emit(second);
    clock.advance(999);
    process.emit(second);
    expect(calls).toEqual(["drain"]);
    clock.advance(1);
    process.emit(second);
    expect(calls).toEqual(["drain", "stop"]);
    expect(await served).toBe(0);
  }
});
