import { writeFileSync } from "node:fs";
import process from "node:process";
import { SystemClock } from "../core/clock.ts";
import { JsonLog, type LogLevel } from "../core/log.ts";
import { onSignal, workerPort } from "../runtime/process.ts";
import { createFilterTrial } from "./filters.ts";
import type { TrialAnswer, TrialQuestion } from "./messages.ts";

/** The process in which a control plane tries filters: it may be killed at any time, and nothing is lost with it. */
export function runTrials(logLevel: string): void {
  const port = workerPort();
  if (port === undefined) throw new Error("trials are started by a control plane, not by hand");
  // The terminal sends Ctrl-C to the whole group: the control plane decides when this ends.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) onSignal(signal, () => {});
  standBack();
  const clock = new SystemClock();
  const log = new JsonLog(logLevel as LogLevel, clock, (line) => void process.stderr.write(line)).for("trial");
  const tryFilter = createFilterTrial(clock, log);
  let last = new Uint8Array(0);
  const say = (answer: TrialAnswer): void => void port.send(answer);
  port.onMessage(async (message) => {
    const { id, config, bytes = last } = message as TrialQuestion;
    last = bytes as Uint8Array<ArrayBuffer>;
    const reason = await tryFilter(config, bytes);
    say({ type: "answer", id, ...(reason === undefined ? {} : { reason }) });
  });
  say({ type: "ready" });
}

/** Where memory runs out, the kernel takes this process and not what started it. */
function standBack(): void {
  try {
    writeFileSync("/proc/self/oom_score_adj", "1000");
  } catch {
    // Not on this system.
  }
}
