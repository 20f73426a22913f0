import { type Command, REMOTE_FLAGS } from "../command.ts";
import { readFiles } from "../files.ts";
import { withRemote } from "../remote.ts";
import { reportApplied, WAIT_FLAGS } from "../wait.ts";

export const command: Command = {
  name: "apply",
  summary: "create or change resources",
  description:
    "Sends resources to the control plane, which checks all of them and takes all or none. Prints what changed and the new revision, or every issue with its place. With --wait it returns once every proxy serves the revision.",
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "File, folder, or - for standard input." },
    { name: "dry-run", type: "switch", help: "Check and show what would change, but change nothing." },
    ...WAIT_FLAGS,
    ...REMOTE_FLAGS,
  ],
  examples: [
    { says: "apply one file and wait until all proxies serve it", line: "selvedge apply -f shop.yaml --wait" },
    { says: "apply what another program prints", line: "generate-config | selvedge apply -f -" },
  ],
  async run(context) {
    const { flags } = context;
    const joined = await readFiles(context);
    return withRemote(context, async (remote) => {
      const dryRun = flags.on("dry-run");
      return reportApplied(context, remote, await remote.apply(joined.text, dryRun), { place: joined.place, dryRun });
    });
  },
};
