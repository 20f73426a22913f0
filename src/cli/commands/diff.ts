import { type Command, EXIT, REMOTE_FLAGS, SHOW_SECRETS_HELP } from "../command.ts";
import { readFiles } from "../files.ts";
import { printChange } from "../print-change.ts";
import { withRemote } from "../remote.ts";
import { printJson, reportOutcome } from "../report.ts";

export const command: Command = {
  name: "diff",
  summary: "show what an apply would change",
  description:
    "Checks the files as apply would and prints every line that would change, without changing anything. Private keys, key sets and secrets in filter settings are [redacted], or [redacted, changed], unless --show-secrets.",
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "File, folder, or - for standard input." },
    { name: "exit-code", type: "switch", help: "Exit with 5 when something would change." },
    { name: "show-secrets", type: "switch", help: SHOW_SECRETS_HELP },
    ...REMOTE_FLAGS,
  ],
  examples: [{ says: "look before you apply", line: "selvedge diff -f shop.yaml" }],
  async run(context) {
    const joined = await readFiles(context);
    const outcome = await withRemote(context, (remote) => remote.apply(joined.text, true, context.flags.on("show-secrets")));
    if (!outcome.ok) return reportOutcome(context, outcome, joined.place);
    const changes = outcome.diff ?? [];
    if (context.flags.on("json")) printJson(context, changes);
    else if (changes.length === 0) context.terminal.out("nothing would change\n");
    else for (const change of changes) await printChange(context, change);
    return context.flags.on("exit-code") && changes.length > 0 ? EXIT.different : EXIT.ok;
  },
};
