import type { Clock } from "./clock.ts";
import { jsonText } from "./json-text.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | undefined | null | readonly string[]>>;

const RANK: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * What operators read: one JSON object per line (`time, level, component, message` and fields), every value escaped by
 * `jsonText`, so that nothing a peer sent can forge a line. Not the access log. Never pass secrets.
 */
export interface Log {
  readonly level: LogLevel;
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with another `component` name. */
  for(component: string): Log;
}

export class JsonLog implements Log {
  constructor(
    readonly level: LogLevel,
    readonly clock: Clock,
    readonly write: (line: string) => void,
    readonly component = "selvedge",
  ) {}

  for(component: string): Log {
    return new JsonLog(this.level, this.clock, this.write, component);
  }
  debug(message: string, fields?: LogFields): void {
    this.#line("debug", message, fields);
  }
  info(message: string, fields?: LogFields): void {
    this.#line("info", message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    this.#line("warn", message, fields);
  }
  error(message: string, fields?: LogFields): void {
    this.#line("error", message, fields);
  }

  #line(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (RANK[level] < RANK[this.level]) return;
    const time = new Date(this.clock.wallMs()).toISOString();
    this.write(`${jsonText({ time, level, component: this.component, message, ...fields })}\n`);
  }
}

/** Drops everything: for tests that look elsewhere, and commands that print what went wrong themselves. */
export const SILENT_LOG: Log = {
  level: "error",
  debug() {},
  info() {},
  warn() {},
  error() {},
  for() {
    return SILENT_LOG;
  },
};
