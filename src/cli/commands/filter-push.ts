import { summariseModule } from "../../config/module-summary.ts";
import { type Command, CommandError, EXIT, REMOTE_FLAGS } from "../command.ts";
import { describeModule } from "../filter/describe.ts";
import { readModuleFile } from "../filter/module-file.ts";
import { withRemote } from "../remote.ts";
import { paintOf, printJson } from "../report.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter push",
  summary: "store a module, to be named by its digest",
  description:
    "Stores a module in the object store of the mesh, through the control API or straight over NATS, and prints its digest: a Filter resource names it as `module: { digest: sha256:… }`. Proxies fetch it by that digest and refuse anything else. A module that no filter names for a week is deleted. Pushing the same bytes again does nothing new.",
  arguments: "<file.wasm>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: REMOTE_FLAGS,
  examples: [
    { says: "sign, then push", line: "selvedge filter sign geo.wasm --key signer.pem && selvedge filter push geo.wasm" },
    { says: "the digest alone, for a script", line: "selvedge filter push geo.wasm --json" },
  ],
  async run(context) {
    const file = context.args[0] ?? "";
    const bytes = readModuleFile(context, file);
    const notes = checkModule(file, bytes);
    const digest = await withRemote(context, (remote) => remote.putModule(bytes));
    const summary = summariseModule(bytes);
    if (digest !== summary.digest) throw new CommandError(`the control plane says ${digest}, but the file is ${summary.digest}`);
    if (context.flags.on("json")) {
      printJson(context, summary);
      return EXIT.ok;
    }
    const paint = paintOf(context);
    for (const note of notes) context.terminal.error(`${paint.yellow("!")} ${printable(note)}\n`);
    const signed = summary.signers.length === 0 ? "not signed" : `signed by ${summary.signers.join(", ")}`;
    context.terminal.out(`${paint.green("✓")} ${printable(file)}, ${summary.sizeBytes} bytes, ${signed}\n`);
    context.terminal.out(`module: { digest: "${digest}" }\n`);
    return EXIT.ok;
  },
};

function checkModule(file: string, bytes: Uint8Array): readonly string[] {
  try {
    return describeModule(bytes).notes;
  } catch (error) {
    throw new CommandError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
