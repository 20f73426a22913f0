import { SystemClock } from "../../core/clock.ts";
import { FILTER_LOG_LEVELS, type FilterLogLevel } from "../../core/filter-logs.ts";
import { jsonText } from "../../core/json-text.ts";
import { FILTER_LOG_LIMITS } from "../../core/limits.ts";
import { onSignal } from "../../runtime/process.ts";
import { type Command, type CommandContext, CommandError, EXIT, REMOTE_FLAGS } from "../command.ts";
import { LogReader, type Round, type SaidLine } from "../filter/log-reader.ts";
import { adminSource, type LogSource, meshSource } from "../filter/log-source.ts";
import { ONE_PROXY_FLAGS } from "../filter/switch.ts";
import { parseReference } from "../reference.ts";
import { withRemote } from "../remote.ts";
import { paintOf } from "../report.ts";
import { onOneLine, printable } from "../terminal.ts";

/** How often proxies are asked for more. */
const FOLLOW_MS = 500;
/** Who lives is asked once in so many rounds. */
const ROUNDS_PER_LOOK = 10;

export const command: Command = {
  name: "filter logs",
  summary: "show what a filter said, in all proxies or one, and go on as it says more",
  description: `Shows the log lines of a filter (its ABI's log calls, and what it writes to standard output and error) that the proxies keep: the last ${FILTER_LOG_LIMITS.lines} of each filter. Each line has its time, proxy/worker, filter, level and request id (- when it was said in no request), then the text, in which control characters are shown as escapes: it is the guest's and may be anything. A proxy keeps what its --log-level lets through, and info and above always. Without --admin-url the control plane asks all live proxies; with it, one proxy is asked directly, also without a control plane. --json prints one object per line. --follow ends with Ctrl-C, and when no proxy is left to ask.`,
  arguments: "<name>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "follow", short: "f", type: "switch", help: "Go on with what is said from now on." },
    { name: "level", type: "text", value: "<level>", choices: FILTER_LOG_LEVELS, help: "Only this level and those above." },
    { name: "since", type: "text", value: "<time>", help: "Only lines since then: 10m ago, or 2026-05-01T12:00:00Z." },
    {
      name: "tail",
      type: "number",
      value: "<count>",
      default: 100,
      max: FILTER_LOG_LIMITS.lines,
      help: "Only the last so many, of all proxies together.",
    },
    { name: "proxy", type: "text", value: "<id>", help: "Only what was said in that proxy." },
    ...ONE_PROXY_FLAGS,
    ...REMOTE_FLAGS,
  ],
  examples: [
    { says: "what a filter said lately, in all proxies", line: "selvedge filter logs geo" },
    { says: "warnings of one proxy as they come", line: "selvedge filter logs prod/geo -f --level warn --proxy edge-1" },
    {
      says: "without a control plane, for other programs",
      line: "selvedge filter logs geo --admin-url http://127.0.0.1:8081 --json",
    },
  ],
  async run(context) {
    const { flags, args } = context;
    const { namespace, name } = parseReference(`Filter/${(args[0] ?? "").replace(/^filters?\//i, "")}`);
    const filter = `${namespace}/${name}`;
    const url = flags.text("admin-url") ?? "";
    const only = flags.text("proxy");
    if (url !== "" && only !== undefined)
      throw new CommandError("--proxy and --admin-url exclude each other", "the admin address is of one proxy", EXIT.usage);
    if (url !== "") return show(context, filter, adminSource(context));
    return withRemote(context, (remote) => show(context, filter, meshSource(remote, only)));
  },
};

async function show(context: CommandContext, filter: string, source: LogSource): Promise<number> {
  const { flags } = context;
  const tail = flags.number("tail") ?? 100;
  const sinceMs = await readSince(flags.text("since"));
  const reader = new LogReader(source, { filter, level: flags.text("level") as FilterLogLevel | undefined, sinceMs, tail });
  const proxies = await source.proxies();
  if (proxies.length === 0) throw noProxy(flags.text("proxy"));
  const first = await reader.read(proxies);
  if (first.lines.length === 0) await source.refuseUnknown(filter);
  await print(context, { ...first, lines: tail === 0 ? [] : first.lines.slice(-tail) });
  if (first.silent.length > 0) sayAside(context, `no answer from ${first.silent.join(", ")} (of a former version?)`);
  if (tail > 0 && first.lines.length === 0 && first.silent.length < proxies.length)
    sayAside(context, nothingSaid(context, filter));
  if (flags.on("follow")) return follow(context, source, reader, proxies);
  return first.silent.length === proxies.length ? EXIT.unreachable : EXIT.ok;
}

/** Silence could as well be a mistake of whoever asks. */
function nothingSaid({ flags }: CommandContext, filter: string): string {
  const asked = (["level", "since"] as const).filter((name) => flags.text(name) !== undefined).map((name) => `--${name}`);
  if (asked.length > 0) return `no lines of ${filter} that ${asked.join(" and ")} would show`;
  return `no lines of ${filter}: it has said nothing yet (debug lines are kept where the proxy's --log-level is debug)`;
}

function noProxy(id: string | undefined): CommandError {
  const what = id === undefined ? "no proxy is there to ask" : `no proxy ${printable(id)} lives`;
  return new CommandError(what, "selvedge status lists those that live", EXIT.unreachable);
}

/** Until Ctrl-C, until nobody reads what is printed, or until nobody is left to ask. */
async function follow(
  context: CommandContext,
  source: LogSource,
  reader: LogReader,
  proxies: readonly string[],
): Promise<number> {
  const clock = new SystemClock(true);
  const asked = Promise.withResolvers<"stop">();
  const offs = (["SIGINT", "SIGTERM"] as const).map((signal) => onSignal(signal, () => asked.resolve("stop")));
  const orStop = <T>(work: Promise<T>): Promise<T | "stop"> => Promise.race([work, asked.promise]);
  let living = proxies;
  try {
    for (let round = 1; ; round++) {
      const pause = Promise.withResolvers<void>();
      const timer = clock.setTimer(FOLLOW_MS, pause.resolve);
      const paused = await orStop(pause.promise);
      timer.cancel();
      if (paused === "stop") return EXIT.ok;
      const read = await orStop(readMore(source, reader, living, round % ROUNDS_PER_LOOK === 0));
      if (read === "stop") return EXIT.ok;
      for (const id of living) if (!read.living.includes(id)) sayAside(context, `${id} is gone`);
      living = read.living;
      if (living.length === 0) return EXIT.unreachable;
      // A reader that is slow is waited for: meanwhile nothing is asked, and what it misses is counted.
      if ((await orStop(print(context, read.round))) !== true) return EXIT.ok;
    }
  } finally {
    for (const off of offs) off();
  }
}

async function readMore(
  source: LogSource,
  reader: LogReader,
  before: readonly string[],
  look: boolean,
): Promise<{ readonly living: readonly string[]; readonly round: Round }> {
  try {
    let living = look ? await source.proxies() : before;
    let round = await reader.read(living);
    // Who does not answer may be gone: then it is not asked again.
    if (round.silent.length > 0 && !look) {
      const now = await source.proxies();
      living = living.filter((id) => now.includes(id));
    }
    round = { ...round, silent: [] };
    return { living, round };
  } catch (error) {
    if (!(error instanceof CommandError) || error.exit !== EXIT.unreachable) throw error;
    return { living: [], round: { lines: [], lost: new Map(), silent: [] } };
  }
}

/** Resolves when the reader took it; false: nobody reads any more. */
async function print(context: CommandContext, { lines, lost }: Round): Promise<boolean> {
  const { flags, terminal } = context;
  for (const [proxy, count] of lost) sayAside(context, `${count} lines of ${proxy} were gone before they were read`);
  if (lines.length > 0) {
    const shown = lines.map((line) => (flags.on("json") ? jsonOf(line) : textOf(context, line)));
    terminal.out(`${shown.join("\n")}\n`);
  }
  return (await terminal.flushed?.()) ?? true;
}

function sayAside(context: CommandContext, text: string): void {
  context.terminal.error(`${paintOf(context).dim(`· ${onOneLine(text)}`)}\n`);
}

function jsonOf({ timeMs, ...rest }: SaidLine): string {
  return jsonText({ time: new Date(timeMs).toISOString(), ...rest });
}

function textOf(
  context: CommandContext,
  { timeMs, proxy, worker, filter, level, requestId, message, dropped }: SaidLine,
): string {
  const paint = paintOf(context);
  const colour = level === "error" || level === "critical" ? paint.red : level === "warn" ? paint.yellow : paint.dim;
  const where = onOneLine(worker === undefined ? proxy : `${proxy}/${worker}`);
  const words = [new Date(timeMs).toISOString(), where, onOneLine(filter), colour(level), onOneLine(requestId ?? "-")];
  const line = `${words.join(" ")} ${onOneLine(message)}`;
  if (dropped === undefined) return line;
  return `${paint.dim(`· ${dropped} lines were dropped before the next one (budget.logLinesPerSecond)`)}\n${line}`;
}

/** Undefined: from the beginning. */
async function readSince(text: string | undefined): Promise<number | undefined> {
  if (text === undefined) return undefined;
  const { readDuration } = await import("../../config/schema/units.ts");
  const ago = readDuration(text.replace(/\s+ago$/, ""));
  if (typeof ago === "number") return Math.max(0, Math.trunc(new SystemClock().wallMs() - ago));
  const atMs = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isFinite(atMs) && atMs >= 0) return atMs;
  throw new CommandError(
    `--since: ${JSON.stringify(text)} is no time`,
    "write 90s, 10m, 2h, or a date like 2026-05-01T12:00:00Z",
    EXIT.usage,
  );
}
