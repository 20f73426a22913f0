import { type Command, CommandError, EXIT, REMOTE_FLAGS } from "../command.ts";
import { readFiles } from "../files.ts";
import { joinKind, parseReference } from "../reference.ts";
import { withRemote } from "../remote.ts";
import { reportOutcome } from "../report.ts";

export const command: Command = {
  name: "delete",
  summary: "delete resources",
  description:
    "Deletes resources by reference (Kind/name or Kind/namespace/name), or all that a file names. Refused when something that stays still refers to one of them.",
  arguments: "[<kind/name>... | <kind> <name>...]",
  argumentsMax: 1000,
  flags: [
    {
      name: "file",
      short: "f",
      type: "list",
      value: "<path>",
      help: "Delete what this file or folder names; - for standard input.",
    },
    { name: "dry-run", type: "switch", help: "Check and show what would go, but change nothing." },
    ...REMOTE_FLAGS,
  ],
  examples: [
    { says: "delete two routes", line: "selvedge delete Route/shop Route/blog" },
    { says: "delete everything in a file", line: "selvedge delete -f shop.yaml" },
  ],
  async run(context) {
    const { args, flags } = context;
    const fromFile = flags.list("file").length > 0;
    if (fromFile === args.length > 0)
      throw new CommandError(
        fromFile ? "resources are named, and a file with -f" : "no resource named",
        "selvedge delete Route/shop, or selvedge delete -f shop.yaml",
        EXIT.usage,
      );
    const joined = fromFile ? await readFiles(context) : undefined;
    const text =
      joined?.text ??
      joinKind(args)
        .map((arg) => parseReference(arg).key)
        .join("\n");
    const view = { place: joined?.place, dryRun: flags.on("dry-run") };
    return withRemote(context, async (remote) => reportOutcome(context, await remote.delete(text, view.dryRun), view));
  },
};
