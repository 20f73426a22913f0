import type { LogEntry } from "../../control/store/store.ts";
import { type Command, type CommandContext, CommandError, EXIT, REMOTE_FLAGS, SHOW_SECRETS_HELP } from "../command.ts";
import { printChange } from "../print-change.ts";
import { parseRevision } from "../reference.ts";
import { withRemote } from "../remote.ts";
import { paintOf, printJson, shortName } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

const CHANGES_SHOWN = 3;
const HEAD = ["REVISION", "TIME (UTC)", "AUTHOR", "FROM", "CHANGES"];

export const command: Command = {
  name: "history",
  summary: "list the last applies, or show what one changed",
  description:
    "Lists the last 64 applies, newest first: revision, time, who, from where, and what changed. With a revision every line that it changed, as diff shows them. With --json the resources before and after. Secrets in them are [redacted], unless --show-secrets.",
  arguments: "[<revision>]",
  argumentsMax: 1,
  flags: [{ name: "show-secrets", type: "switch", help: SHOW_SECRETS_HELP }, ...REMOTE_FLAGS],
  examples: [
    { says: "who changed what", line: "selvedge history" },
    { says: "every line that revision 41 changed", line: "selvedge history 41" },
  ],
  async run(context) {
    const [asked] = context.args;
    const revision = asked === undefined ? undefined : parseRevision(asked);
    const entries = await withRemote(context, (remote) => remote.history(context.flags.on("show-secrets")));
    if (revision !== undefined) await showEntry(context, entries, revision);
    else if (context.flags.on("json")) printJson(context, entries);
    else if (entries.length === 0) context.terminal.out("nothing was applied yet\n");
    else context.terminal.out(formatTable([HEAD, ...entries.map(rowOf)], paintOf(context)));
    return EXIT.ok;
  },
};

async function showEntry(context: CommandContext, entries: readonly LogEntry[], revision: number): Promise<void> {
  const entry = entries.find((each) => each.revision === revision);
  if (entry === undefined)
    throw new CommandError(`there is no revision ${revision} in the history`, "selvedge history lists them", EXIT.notFound);
  if (context.flags.on("json")) return printJson(context, entry);
  // Over NATS, `{}` stands for a resource where the history does not fit a message.
  if (entry.changes.some(({ before, after }) => isEmpty(before) || isEmpty(after)))
    throw new CommandError(
      `what revision ${revision} changed does not fit a message of NATS`,
      "ask the control API: --server http://…",
    );
  context.terminal.out(formatTable([HEAD, rowOf(entry)], paintOf(context)));
  for (const change of entry.changes) await printChange(context, change);
}

const isEmpty = (resource: unknown): boolean =>
  typeof resource === "object" && resource !== null && Object.keys(resource).length === 0;

function rowOf(entry: LogEntry): string[] {
  const shown = entry.changes.slice(0, CHANGES_SHOWN).map((change) => {
    const sign = change.before === undefined ? "+" : change.after === undefined ? "-" : "~";
    return sign + shortName(change.key);
  });
  const more = entry.changes.length - shown.length;
  return [
    String(entry.revision),
    new Date(entry.timeMs).toISOString().slice(0, 19).replace("T", " "),
    printable(entry.author === "" ? "-" : entry.author),
    printable(entry.origin),
    printable(`${shown.join(" ")}${more > 0 ? ` and ${more} more` : ""}`),
  ];
}
