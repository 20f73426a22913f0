import { type Command, EXIT } from "../command.ts";
import { buildProject } from "../filter/build.ts";
import { readProject } from "../filter/project.ts";
import { paintOf, printJson } from "../report.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter build",
  summary: "compile a filter's folder to a module",
  description:
    "Runs the compiler of the language that selvedge-filter.yaml names, puts the metadata of that file into the module, and prints its size and digest. When the compiler is missing, it says what to install. Ends with 1 when it does not compile.",
  arguments: "<folder>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [],
  examples: [{ says: "build and test", line: "selvedge filter build geo && selvedge filter test geo" }],
  async run(context) {
    const project = readProject(context, context.args[0] ?? "");
    const module = await buildProject(context, project);
    const { manifest, shown } = project;
    if (context.flags.on("json")) {
      printJson(context, { folder: shown, module: manifest.module, digest: module.digest, sizeBytes: module.sizeBytes });
      return EXIT.ok;
    }
    const paint = paintOf(context);
    const abi = `${module.abi} ${module.abiVersions.join(", ")}`.trim();
    context.terminal.out(`${paint.green("✓")} ${shown}/${manifest.module} ${module.sizeBytes} bytes, ${abi}, ${module.digest}\n`);
    for (const note of module.notes) context.terminal.error(`${paint.yellow("!")} ${printable(note)}\n`);
    return EXIT.ok;
  },
};
