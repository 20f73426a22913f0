import type { Change } from "../../control/store/store.ts";
import { type Command, type CommandContext, CommandError, EXIT, REMOTE_FLAGS, SHOW_SECRETS_HELP } from "../command.ts";
import { readFiles } from "../files.ts";
import { printChange } from "../print-change.ts";
import { parseRevision } from "../reference.ts";
import { withRemote } from "../remote.ts";
import { printJson, reportOutcome } from "../report.ts";

export const command: Command = {
  name: "diff",
  summary: "show what an apply would change, or what lies between two revisions",
  description:
    "Checks the files as apply would and prints every line that would change, without changing anything. With --from every line that differs between two revisions of the history. Private keys, key sets and secrets in filter settings are [redacted], or [redacted, changed], unless --show-secrets.",
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "File, folder, or - for standard input." },
    { name: "from", type: "text", value: "<revision>", help: "Compare this revision, and no files." },
    {
      name: "to",
      type: "text",
      value: "<revision>",
      defaultText: "the newest",
      help: "Revision to compare it with, older or newer.",
    },
    { name: "exit-code", type: "switch", help: "Exit with 5 when something differs." },
    { name: "show-secrets", type: "switch", help: SHOW_SECRETS_HELP },
    ...REMOTE_FLAGS,
  ],
  examples: [
    { says: "look before you apply", line: "selvedge diff -f shop.yaml" },
    { says: "what changed since revision 41", line: "selvedge diff --from 41" },
    { says: "what a rollback from 45 to 41 would do", line: "selvedge diff --from 45 --to 41" },
  ],
  async run(context) {
    const [from, to] = [context.flags.text("from"), context.flags.text("to")];
    if (from !== undefined) return compareRevisions(context, parseRevision(from), to === undefined ? 0 : parseRevision(to));
    if (to !== undefined) throw new CommandError("--to needs --from", "selvedge diff --from 41 --to 45", EXIT.usage);
    const joined = await readFiles(context);
    const outcome = await withRemote(context, (remote) => remote.apply(joined.text, true, context.flags.on("show-secrets")));
    if (!outcome.ok) return reportOutcome(context, outcome, { place: joined.place });
    const changes = outcome.diff ?? [];
    if (context.flags.on("json")) printJson(context, changes);
    else await printChanges(context, changes, "nothing would change\n");
    return exitOf(context, changes);
  },
};

async function compareRevisions(context: CommandContext, from: number, to: number): Promise<number> {
  const { flags } = context;
  if (flags.list("file").length > 0)
    throw new CommandError("--file and --from exclude each other", "one compares files, the other revisions", EXIT.usage);
  const difference = await withRemote(context, (remote) => remote.difference(from, to, flags.on("show-secrets")));
  if (flags.on("json")) printJson(context, difference);
  else await printChanges(context, difference.changes, `nothing differs between ${difference.from} and ${difference.to}\n`);
  return exitOf(context, difference.changes);
}

async function printChanges(context: CommandContext, changes: readonly Change[], none: string): Promise<void> {
  if (changes.length === 0) context.terminal.out(none);
  for (const change of changes) await printChange(context, change);
}

const exitOf = ({ flags }: CommandContext, changes: readonly Change[]): number =>
  flags.on("exit-code") && changes.length > 0 ? EXIT.different : EXIT.ok;
