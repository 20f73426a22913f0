import { formatIssue } from "../../config/issue.ts";
import type { ControlStatus } from "../../control/control.ts";
import { type Command, type CommandContext, EXIT, REMOTE_FLAGS } from "../command.ts";
import { withRemote } from "../remote.ts";
import { paintOf, printJson } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";
import { reportWait, WAIT_FLAGS } from "../wait.ts";

export const command: Command = {
  name: "status",
  summary: "show which proxy serves what, or wait until all do",
  description:
    "Shows the newest revision and, for every live proxy, the revision it serves, how long it took and what it refused, then what happened to them lately (filters that broke, workers that were replaced, …), and what was published over NATS and refused. With --wait it returns once every proxy serves the newest revision, fails at once when one refuses it, and after --timeout.",
  flags: [...WAIT_FLAGS, ...REMOTE_FLAGS],
  examples: [
    { says: "what is going on", line: "selvedge status" },
    {
      says: "in a script: go on when all proxies have the change",
      line: "selvedge apply -f shop.yaml && selvedge status --wait --timeout 10",
    },
  ],
  run(context) {
    return withRemote(context, async (remote) => {
      if (context.flags.on("wait")) return reportWait(context, remote, 0);
      const status = await remote.status();
      if (context.flags.on("json")) printJson(context, status);
      else printStatus(context, status);
      return EXIT.ok;
    });
  },
};

function printStatus(context: CommandContext, status: ControlStatus): void {
  const { terminal } = context;
  const connection = status.connection === "none" ? "" : `, NATS ${status.connection}`;
  terminal.out(`revision ${status.revision}, ${status.resources} resources, store ${status.store}${connection}\n`);
  if (status.proxies.length === 0) terminal.out("no proxy has reported yet; start one with `selvedge proxy`\n");
  else printProxies(context, status);
  printRefused(context, status);
  printStored(context, status);
  printUnreadable(context, status);
}

/** Of a control plane of a former version: none. */
function printUnreadable(context: CommandContext, { unreadable = [] }: Partial<ControlStatus>): void {
  const paint = paintOf(context);
  for (const { where, sequence, code } of unreadable)
    context.terminal.out(
      `${paint.red("passed over:")} ${printable(`message ${sequence} of the ${where} cannot be read: ${code}`)}\n`,
    );
}

/** What is wrong with what is stored. Of a control plane of a former version: no warnings. */
function printStored(
  context: CommandContext,
  { issues, warnings = [] }: Pick<ControlStatus, "issues"> & Partial<ControlStatus>,
): void {
  const paint = paintOf(context);
  for (const issue of issues) context.terminal.out(`${paint.red("stored:")} ${printable(formatIssue(issue))}\n`);
  for (const warning of warnings) context.terminal.out(`${paint.yellow("stored:")} ${printable(formatIssue(warning))}\n`);
}

function printProxies(context: CommandContext, status: ControlStatus): void {
  const { terminal } = context;
  const paint = paintOf(context);
  const rows = status.proxies.map((proxy) => [
    printable(proxy.id),
    printable(proxy.group),
    String(proxy.revision),
    stateOf(proxy, status.revision),
    `${Math.round(proxy.applyMs * 10) / 10} ms`,
  ]);
  terminal.out(formatTable([["PROXY", "GROUP", "REVISION", "STATE", "APPLY"], ...rows], paint));
  for (const proxy of status.proxies) {
    for (const issue of proxy.issues) terminal.out(`${paint.red(printable(proxy.id))}: ${printable(formatIssue(issue))}\n`);
  }
  printEvents(context, status);
}

function stateOf({ revision, rejectedRevision }: ControlStatus["proxies"][number], newest: number): string {
  if (rejectedRevision > 0) return `refused ${rejectedRevision}`;
  if (revision === newest) return "ok";
  // Ahead: NATS has lost what was given out (docs/operations.md).
  return revision < newest ? "behind" : "ahead";
}

/** Of a control plane of a former version: none. */
function printRefused(context: CommandContext, { refused = [] }: Partial<ControlStatus>): void {
  if (refused.length === 0) return;
  const rows = refused.map(({ timeMs, author, action, issues, first }) => [
    new Date(timeMs).toISOString().slice(0, 19).replace("T", " "),
    printable(author === "" ? "-" : author),
    action,
    String(issues),
    printable(formatIssue(first)).replaceAll("\n", " "),
  ]);
  const head = ["TIME (UTC)", "AUTHOR", "REFUSED", "ISSUES", "FIRST"];
  context.terminal.out(`\n${formatTable([head, ...rows], paintOf(context))}`);
}

/** Most events that fit on a screen with the rest; all of them are in `--json` and at a proxy's /events. */
const EVENTS_SHOWN = 10;

function printEvents(context: CommandContext, { proxies }: ControlStatus): void {
  const events = proxies.flatMap(({ id, events }) => events.map((event) => ({ id, ...event })));
  if (events.length === 0) return;
  const newest = events.sort((one, other) => other.lastMs - one.lastMs).slice(0, EVENTS_SHOWN);
  const rows = newest.map(({ id, kind, subject, reason, worker, count, lastMs }) => [
    new Date(lastMs).toISOString().slice(0, 19).replace("T", " "),
    printable(worker === undefined ? id : `${id}/${worker}`),
    printable(count === 1 ? kind : `${kind} ×${count}`),
    printable(subject),
    printable(reason).replaceAll("\n", " "),
  ]);
  context.terminal.out(`\n${formatTable([["TIME (UTC)", "PROXY", "EVENT", "SUBJECT", "REASON"], ...rows], paintOf(context))}`);
}
