import type { Clock, Timer } from "../../core/clock.ts";
import type { CommandContext } from "../command.ts";
import { printable } from "../terminal.ts";

/** Something that takes a while, as people see it. */
export interface Progress {
  /** What it is at now. */
  say(text: string): void;
  end(): void;
}

const TICK_MS = 1_000;
/** Without a terminal: a line each time so many ticks went by. */
const PLAIN_TICKS = 10;
const COLUMNS = 79;

/** Says on the error stream that something goes on: one line that changes on a terminal, a line now and then elsewhere, nothing with `--json`. */
export function startProgress({ terminal, flags }: CommandContext, what: string, clock: Clock): Progress {
  if (flags.on("json")) return { say() {}, end() {} };
  const startMs = clock.nowMs();
  let [now, ticks] = ["", 0];
  let timer: Timer | undefined;
  const text = (): string => {
    const seconds = Math.round((clock.nowMs() - startMs) / 1000);
    return `${what}${seconds > 0 ? `, ${seconds} s` : ""}${now === "" ? "" : `: ${printable(now).trim()}`}`.slice(0, COLUMNS);
  };
  const show = (): void => {
    if (terminal.isTty) terminal.error(`\r\x1b[2K${text()}`);
    else if (ticks++ % PLAIN_TICKS === 0) terminal.error(`${text()}\n`);
    timer = clock.setTimer(TICK_MS, show);
  };
  show();
  return {
    say: (line) => {
      now = line;
    },
    end: () => {
      timer?.cancel();
      if (terminal.isTty) terminal.error("\r\x1b[2K");
    },
  };
}
