import type { TryFilter } from "../config/filter-check.ts";
import type { FilterConfig } from "../config/snapshot.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { CalloutAnswer, CalloutRequest, FilterHost, FilterMetrics } from "../filters/contract.ts";
import type { FlagValues } from "./flags.ts";
import { NATS_FLAGS } from "./serve-flags.ts";
import type { Terminal } from "./terminal.ts";

/** One flag; its environment variable is `SELVEDGE_` and the name in capitals, its key in a configuration file is the name. */
export interface FlagSpec {
  /** Without dashes: `log-level`. */
  readonly name: string;
  readonly short?: string;
  /** `list`: may be given several times; commas separate values in the environment. */
  readonly type: "text" | "switch" | "number" | "list";
  /** What stands for the value in help: `<file>`. */
  readonly value?: string;
  readonly default?: string | number | boolean;
  /** Shown when the default depends on the machine. */
  readonly defaultText?: string;
  readonly choices?: readonly string[];
  /** What completion offers where the command itself checks the value, with more to say than which there are. Default: `choices`. */
  readonly suggestions?: readonly string[];
  /** For numbers. */
  readonly min?: number;
  readonly max?: number;
  readonly help: string;
}

export interface CommandExample {
  readonly says: string;
  readonly line: string;
}

/** One command of `selvedge`. */
export interface Command {
  readonly name: string;
  /** A few words, for the list of commands. */
  readonly summary: string;
  /** What it does and what comes out, in sentences. */
  readonly description: string;
  /** Positional arguments as help shows them: `<kind/name>...`. */
  readonly arguments?: string;
  /** What the first one may be, for completion. Default: files. */
  readonly argumentSuggestions?: readonly string[];
  /** How many there may be. */
  readonly argumentsMin?: number;
  readonly argumentsMax?: number;
  readonly flags: readonly FlagSpec[];
  readonly examples: readonly CommandExample[];
  /** Resolves with the exit code. */
  run(context: CommandContext): Promise<number>;
}

export interface CommandContext {
  readonly flags: FlagValues;
  readonly args: readonly string[];
  readonly terminal: Terminal;
  readonly launch: Launchers;
}

/** What needs more than this folder may import: src/app has it, and gives it to the commands. */
export interface Launchers {
  proxy(context: CommandContext): Promise<number>;
  control(context: CommandContext): Promise<number>;
  up(context: CommandContext): Promise<number>;
  /** Loads filters with their settings, as a proxy would. */
  createFilterTrial(): Promise<TryFilter>;
  /** A filter host with everything that filters may reach in a proxy. */
  readonly createFilterHost: CreateFilterHost;
}

/** What a filter host reports to and asks. */
export interface FilterHostParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: FilterMetrics;
  /** Starts calls that belong to no exchange (from a tick); 0: refused. */
  callout(filter: FilterConfig, request: CalloutRequest, done: (answer: CalloutAnswer | undefined) => void): number;
}

export type CreateFilterHost = (parts: FilterHostParts) => Promise<FilterHost>;

/** Exit codes, the same for every command. */
export const EXIT = {
  ok: 0,
  /** The configuration was refused, or a proxy refused it, or something else failed. */
  failed: 1,
  /** Wrong flags or arguments. */
  usage: 2,
  /** The control plane cannot be reached, or the time is over. */
  unreachable: 3,
  /** There is no such thing. */
  notFound: 4,
  /** `diff --exit-code`: something would change. */
  different: 5,
} as const;

export const EXIT_HELP: readonly (readonly [number, string])[] = [
  [EXIT.ok, "done"],
  [EXIT.failed, "refused or failed; the reason is printed"],
  [EXIT.usage, "wrong flags or arguments"],
  [EXIT.unreachable, "the control plane cannot be reached, or the time is over"],
  [EXIT.notFound, "there is no such resource"],
  [EXIT.different, "diff --exit-code: something would change"],
];

/** Something that a person did wrong or must know; printed without a stack. */
export class CommandError extends Error {
  constructor(
    message: string,
    /** What to do next; "" when the message says it. */
    readonly hint = "",
    readonly exit: number = EXIT.failed,
  ) {
    super(message);
  }
}

/** Flags of every command. */
export const GLOBAL_FLAGS: readonly FlagSpec[] = [
  { name: "json", type: "switch", help: "Print JSON instead of text." },
  {
    name: "config",
    type: "text",
    value: "<file>",
    defaultText: "selvedge.yaml when it is there",
    help: "File with flag values.",
  },
  { name: "color", type: "switch", defaultText: "on a terminal without NO_COLOR", help: "Colour the output." },
  { name: "help", short: "h", type: "switch", help: "Show this help." },
];

/** Of `--show-secrets`. */
export const SHOW_SECRETS_HELP = "Show inline private keys, key sets and secrets in filter settings.";

/** Flags of commands that talk to a control plane. */
export const REMOTE_FLAGS: readonly FlagSpec[] = [
  {
    name: "server",
    type: "text",
    value: "<url>",
    default: "http://127.0.0.1:8088",
    help: "Control API to talk to.",
  },
  { name: "token", type: "text", value: "<token>", help: "Bearer token of the control API." },
  { name: "nats", type: "text", value: "<url>", help: "Talk over NATS instead of the control API." },
  ...NATS_FLAGS,
];
