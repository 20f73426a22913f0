import process from "node:process";
import { type CommandContext, CommandError, EXIT } from "../cli/command.ts";
import { type Clock, SystemClock } from "../core/clock.ts";
import { EventLog } from "../core/events.ts";
import { FilterLogs } from "../core/filter-logs.ts";
import { JsonLog, type Log, type LogLevel } from "../core/log.ts";
import { onSignal } from "../runtime/process.ts";

/** Time, log and memory of a process that serves. */
export interface ProcessTools {
  readonly clock: Clock;
  readonly log: Log;
  readonly logLevel: LogLevel;
  /** What happens to this process and those below it. */
  readonly events: EventLog;
  /** What filters of this process and those below it say. */
  readonly filterLogs: FilterLogs;
}

export function processTools({ flags }: CommandContext): ProcessTools {
  const clock = new SystemClock();
  const logLevel = (flags.text("log-level") ?? "info") as LogLevel;
  return {
    clock,
    logLevel,
    events: new EventLog(clock),
    filterLogs: new FilterLogs(clock),
    log: new JsonLog(logLevel, clock, (line) => void process.stderr.write(line)),
  };
}

/** `127.0.0.1:8081`, `[::1]:8081`, `:8081` (all addresses). Throws a `CommandError` that names the flag. */
export function parseAddress(text: string, flag: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new CommandError(`--${flag}: ${JSON.stringify(text)} is not an address like 127.0.0.1:8081`, "", EXIT.usage);
  const host = match[1] ?? match[2] ?? "";
  return { host: host === "" ? "0.0.0.0" : host, port };
}

/**
 * One signal comes more than once: to the whole group (a terminal's Ctrl-C, `kill -- -PID`), and passed on by npm and by what
 * started us (bin/selvedge.mjs). What comes so soon after the last one that counted is the same one, also on a slow machine.
 */
const SAME_SIGNAL_MS = 1_000;

/**
 * Resolves when the process was asked to stop and has: the first SIGTERM or SIGINT drains, the second stops at once. SIGHUP
 * reopens logs. Call it before anything is announced: who reads that may send a signal at once. It hears signals until the process
 * ends: the one that stopped us may be passed on once more while the caller closes the rest, and must not kill it in the middle.
 */
export function serveUntilSignal(parts: {
  readonly drain: () => Promise<void>;
  readonly stop: () => Promise<void>;
  readonly reopenLogs: () => void;
  readonly log: Log;
  readonly clock: Clock;
}): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  let asked = 0;
  let askedMs = 0;
  const onStop = (signal: string): void => {
    const nowMs = parts.clock.nowMs();
    if (asked > 0 && nowMs - askedMs < SAME_SIGNAL_MS) return;
    askedMs = nowMs;
    asked++;
    if (asked > 2) return;
    parts.log.info(asked === 1 ? "draining; once more stops at once" : "stopping at once", { signal });
    const work = asked === 1 ? parts.drain() : parts.stop();
    work.then(
      () => resolve(EXIT.ok),
      (error: unknown) => {
        parts.log.error("stopping failed", { cause: String(error) });
        resolve(EXIT.failed);
      },
    );
  };
  onSignal("SIGTERM", () => onStop("SIGTERM"));
  onSignal("SIGINT", () => onStop("SIGINT"));
  onSignal("SIGHUP", parts.reopenLogs);
  return promise;
}
