import { lstatSync, writeFileSync } from "node:fs";
import { jsonText } from "../../core/json-text.ts";
import { writeAtomically } from "../../runtime/files.ts";
import { type Command, EXIT, REMOTE_FLAGS } from "../command.ts";
import { withRemote } from "../remote.ts";
import { paintOf } from "../report.ts";

/** Backups hold private keys: nobody else may read them. */
const OWNER_ONLY = 0o600;

export const command: Command = {
  name: "backup",
  summary: "write the whole configuration to a file",
  description:
    "Writes all resources and filter modules as one JSON document, to standard output or a file that only you can read. It may hold private keys: keep it safe.",
  flags: [
    { name: "output", short: "o", type: "text", value: "<file>", help: "File to write; standard output when missing." },
    ...REMOTE_FLAGS,
  ],
  examples: [{ says: "keep the configuration of today", line: "selvedge backup -o selvedge-backup.json" }],
  async run(context) {
    const backup = await withRemote(context, (remote) => remote.backup());
    const text = `${jsonText(backup, 2)}\n`;
    const file = context.flags.text("output");
    if (file === undefined) {
      context.terminal.out(text);
      return EXIT.ok;
    }
    // A pipe, a terminal or a link (/dev/stdout) is written to; only a file is replaced.
    if (lstatSync(file, { throwIfNoEntry: false })?.isFile() === false) writeFileSync(file, text);
    else writeAtomically(file, text, OWNER_ONLY);
    context.terminal.error(
      `${paintOf(context).green("✓")} revision ${backup.revision}, ${backup.resources.length} resources in ${file}\n`,
    );
    return EXIT.ok;
  },
};
