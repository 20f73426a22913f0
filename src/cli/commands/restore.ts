import { type Command, CommandError, REMOTE_FLAGS } from "../command.ts";
import { readText } from "../files.ts";
import { withRemote } from "../remote.ts";
import { reportOutcome } from "../report.ts";

export const command: Command = {
  name: "restore",
  summary: "bring a backup back",
  description:
    "Makes the configuration what it is in a backup; resources that are not in it go. A new apply: it is checked, has a revision and can be rolled back.",
  arguments: "<file>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: REMOTE_FLAGS,
  examples: [{ says: "bring the configuration of a backup back", line: "selvedge restore selvedge-backup.json" }],
  async run(context) {
    const file = context.args[0] ?? "-";
    const text = file === "-" ? await context.terminal.readStdin() : readText(file);
    let backup: unknown;
    try {
      backup = JSON.parse(text);
    } catch (error) {
      throw new CommandError(`${file} is not a backup: ${(error as Error).message}`, "selvedge backup writes one");
    }
    return withRemote(context, async (remote) => reportOutcome(context, await remote.restore(backup)));
  },
};
