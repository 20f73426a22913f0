import { formatSize } from "../../config/schema/units.ts";
import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import { describeModule, type ModuleDescription } from "../filter/describe.ts";
import { readModuleFile } from "../filter/module-file.ts";
import { paintOf, printJson } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

export const command: Command = {
  name: "filter inspect",
  summary: "show what a module is, needs and offers",
  description:
    "Reads a WebAssembly file without running it: which ABI it speaks and in which versions, what it imports and exports, its size, memory and tables, what it could do with its imports and which capability grants that, who produced it, and the metadata that `filter build` puts in. Ends with 1 when the file is no module, or one that the engine refuses.",
  arguments: "<file.wasm>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [],
  examples: [
    { says: "before you trust a stranger's filter", line: "selvedge filter inspect geo.wasm" },
    { says: "for a script", line: "selvedge filter inspect geo.wasm --json" },
  ],
  async run(context) {
    const file = context.args[0] ?? "";
    const bytes = readModuleFile(context, file);
    let description: ModuleDescription;
    try {
      description = describeModule(bytes);
    } catch (error) {
      throw new CommandError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
    const verdict = await compiles(bytes, description);
    if (context.flags.on("json")) printJson(context, { file, ...description, compiles: verdict === "", compileError: verdict });
    else print(context, file, description, verdict);
    return verdict === "" ? EXIT.ok : EXIT.failed;
  },
};

/** "" when the engine of this runtime accepts it; a component is not asked. */
async function compiles(bytes: Uint8Array, { format }: ModuleDescription): Promise<string> {
  if (format === "component") return "";
  try {
    await WebAssembly.compile(bytes as Uint8Array<ArrayBuffer>);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const PAGE_BYTES = 65_536;

function print(context: CommandContext, file: string, module: ModuleDescription, compileError: string): void {
  const { terminal } = context;
  const paint = paintOf(context);
  const say = (label: string, text: string): void => {
    if (text !== "") terminal.out(`${paint.dim(label.padEnd(12))}${printable(text)}\n`);
  };
  say("file", file);
  say("ABI", `${module.abi} ${module.abiVersions.join(", ")}`.trim());
  say("digest", module.digest);
  say("size", describeSize(module));
  say("memory", module.memories.map((each) => describeExtent(each, (pages) => formatSize(pages * PAGE_BYTES))).join("; "));
  say("tables", module.tables.map((each) => describeExtent(each, (elements) => `${elements} elements`)).join("; "));
  say("made by", module.producers.join(", "));
  say("sections", module.customSections.map(({ name, bytes }) => `${name} (${bytes} B)`).join(", "));
  if (module.metadata !== undefined) say("metadata", JSON.stringify(module.metadata));
  say("start", module.hasStart ? "a start function runs when it is loaded" : "");
  const rows = module.needs.map(({ what, grant, because }) => [
    what,
    grant === "" ? "-" : `capabilities.${grant}`,
    because.map((each) => (each.includes("/") ? each : each.slice(each.indexOf(".") + 1))).join(", "),
  ]);
  if (rows.length > 0)
    terminal.out(`\n${printable(formatTable([["WHAT IT COULD DO", "GRANTED BY", "BECAUSE OF"], ...rows], paint))}`);
  for (const [heading, names] of [["IMPORT", module.imports] as const, ["EXPORT", module.exports] as const]) {
    const lines = names.map(({ name, kind, type }) => [name, kind, type]);
    if (lines.length > 0) terminal.out(`\n${printable(formatTable([[heading, "KIND", "TYPE"], ...lines], paint))}`);
  }
  for (const note of module.notes) terminal.error(`${paint.yellow("!")} ${printable(note)}\n`);
  if (compileError !== "") terminal.error(`${paint.red("✗")} the engine refuses it: ${printable(compileError)}\n`);
}

function describeSize({ sizeBytes, functions, codeBytes, dataBytes, coreModules }: ModuleDescription): string {
  const parts = [`${sizeBytes} bytes`];
  if (functions !== undefined) parts.push(`${functions} functions, code ${codeBytes} B, data ${dataBytes} B`);
  if (coreModules.length > 0) parts.push(`${coreModules.length} core modules inside (${coreModules.join(", ")} B)`);
  return parts.join(", ");
}

function describeExtent(
  { minimum, maximum, imported }: ModuleDescription["memories"][number],
  format: (count: number) => string,
): string {
  const most = maximum === null ? "no maximum (the budget is one)" : `at most ${format(maximum)}`;
  return `${format(minimum)} at the start, ${most}${imported ? ", imported" : ""}`;
}
