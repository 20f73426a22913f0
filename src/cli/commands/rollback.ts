import { type Command, REMOTE_FLAGS } from "../command.ts";
import { parseRevision } from "../reference.ts";
import { withRemote } from "../remote.ts";
import { reportApplied, WAIT_FLAGS } from "../wait.ts";

export const command: Command = {
  name: "rollback",
  summary: "bring an earlier configuration back",
  description:
    "Makes the configuration what it was at an earlier revision. That is a new apply with a new revision: it is checked like any other, and can be rolled back itself.",
  arguments: "<revision>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [...WAIT_FLAGS, ...REMOTE_FLAGS],
  examples: [{ says: "go back to what revision 41 was", line: "selvedge rollback 41 --wait" }],
  async run(context) {
    const revision = parseRevision(context.args[0] ?? "");
    return withRemote(context, async (remote) => reportApplied(context, remote, await remote.rollback(revision)));
  },
};
