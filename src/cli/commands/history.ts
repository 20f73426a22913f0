import type { LogEntry } from "../../control/store/store.ts";
import { type Command, EXIT, REMOTE_FLAGS, SHOW_SECRETS_HELP } from "../command.ts";
import { withRemote } from "../remote.ts";
import { paintOf, printJson, shortName } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

const CHANGES_SHOWN = 3;

export const command: Command = {
  name: "history",
  summary: "list the last applies",
  description:
    "Lists the last 64 applies, newest first: revision, time, who, from where, and what changed. With --json the resources before and after; secrets in them are [redacted], unless --show-secrets.",
  flags: [{ name: "show-secrets", type: "switch", help: SHOW_SECRETS_HELP }, ...REMOTE_FLAGS],
  examples: [{ says: "who changed what", line: "selvedge history" }],
  async run(context) {
    const entries = await withRemote(context, (remote) => remote.history(context.flags.on("show-secrets")));
    if (context.flags.on("json")) printJson(context, entries);
    else if (entries.length === 0) context.terminal.out("nothing was applied yet\n");
    else
      context.terminal.out(
        formatTable([["REVISION", "TIME", "AUTHOR", "FROM", "CHANGES"], ...entries.map(rowOf)], paintOf(context)),
      );
    return EXIT.ok;
  },
};

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
