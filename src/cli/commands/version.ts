import { type Command, EXIT } from "../command.ts";
import { printJson } from "../report.ts";
import { VERSION } from "../version.ts";

export const command: Command = {
  name: "version",
  summary: "print the version",
  description: "Prints the version of this program and of the runtime under it.",
  flags: [],
  examples: [{ says: "for a bug report", line: "selvedge version" }],
  async run(context) {
    const { versions, platform, arch } = process;
    const runtime =
      versions.bun !== undefined
        ? `bun ${versions.bun}`
        : versions.deno !== undefined
          ? `deno ${versions.deno}`
          : `node ${versions.node}`;
    if (context.flags.on("json")) printJson(context, { version: VERSION, runtime, platform, arch });
    else context.terminal.out(`selvedge ${VERSION} (${runtime}, ${platform} ${arch})\n`);
    return EXIT.ok;
  },
};
