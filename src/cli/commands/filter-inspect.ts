import type { ConfigIssue } from "../../config/issue.ts";
import { type ModuleSummary, summariseModule } from "../../config/module-summary.ts";
import { formatSize } from "../../config/schema/units.ts";
import { DEFAULT_CAPABILITIES } from "../../filters/guest/grants.ts";
import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import { compileNamedFiles } from "../compile-files.ts";
import { describeModule, describeSigners, type ModuleDescription } from "../filter/describe.ts";
import { moduleArgument, readModuleFile } from "../filter/module-file.ts";
import { paintOf, printJson, printWarnings } from "../report.ts";
import { REGISTRY_FLAGS } from "../serve-flags.ts";
import { formatTable, printable } from "../terminal.ts";

export const command: Command = {
  name: "filter inspect",
  summary: "show what a module is, needs and offers",
  description:
    "Reads a WebAssembly file without running it: which ABI it speaks and in which versions, what it imports and exports, its size, memory and tables, what it could do with its imports and which capability grants that, who produced and who signed it, the metadata that `filter build` puts in, and which capabilities it declares there that a Filter resource has to grant; with -f which of them the Filter resources that name it do not. Ends with 1 when the file is no module, or one that the engine refuses.",
  arguments: "<file.wasm|folder>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "Resources (file, folder, -) whose Filters are to run it." },
    ...REGISTRY_FLAGS,
  ],
  examples: [
    { says: "before you trust a stranger's filter", line: "selvedge filter inspect geo.wasm" },
    { says: "what its Filter resource does not grant", line: "selvedge filter inspect dist/geo.wasm -f config/" },
    { says: "for a script", line: "selvedge filter inspect geo.wasm --json" },
  ],
  async run(context) {
    const file = moduleArgument(context, context.args[0] ?? "");
    const bytes = readModuleFile(context, file);
    let description: ModuleDescription;
    try {
      description = describeModule(bytes);
    } catch (error) {
      throw new CommandError(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
    const signatures = signaturesOf(bytes);
    const verdict = await compiles(bytes, description);
    const grants = await grantsOf(context, bytes, description.digest);
    if (context.flags.on("json"))
      printJson(context, { file, ...description, ...signatures, ...grants, compiles: verdict === "", compileError: verdict });
    else {
      print(context, file, description, describeSigners(signatures), verdict);
      printGrants(context, grants);
    }
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

/** Who signed it; whether somebody trusts them the Mesh says. */
function signaturesOf(bytes: Uint8Array): Pick<ModuleSummary, "signers" | "badSignatures"> {
  const { signers, badSignatures = [] } = summariseModule(bytes);
  return { signers, badSignatures };
}

function print(context: CommandContext, file: string, module: ModuleDescription, signatures: string, compileError: string): void {
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
  say("signatures", signatures);
  say("made by", module.producers.join(", "));
  say("sections", module.customSections.map(({ name, bytes }) => `${name} (${bytes} B)`).join(", "));
  if (module.metadata !== undefined) say("metadata", JSON.stringify(module.metadata));
  say("start", module.hasStart ? "a start function runs when it is loaded" : "");
  const rows = module.needs.map(({ what, grant, because }) => [
    what,
    grant === "" ? "-" : `capabilities.${grant}`,
    // Go imports the same function twice.
    [...new Set(because.map((each) => (each.includes("/") ? each : each.slice(each.indexOf(".") + 1))))].join(", "),
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

interface GrantsView {
  /** What it declares beyond what every filter may, as YAML below `capabilities`. */
  readonly declares: readonly string[];
  /** Filter resources that name it; undefined: no resources were given. */
  readonly filters?: readonly string[];
  /** What they do not grant. */
  readonly missing?: readonly ConfigIssue[];
}

async function grantsOf(context: CommandContext, bytes: Uint8Array, digest: string): Promise<GrantsView> {
  const { declaredCapabilities, missingGrants } = await import("../../config/compile/declared.ts");
  const declared = declaredCapabilities(bytes);
  const beyond = declared === undefined ? [] : missingGrants(declared, DEFAULT_CAPABILITIES);
  const declares = beyond.map(({ path, write }) => `${path.join(".")}: ${write}`);
  if (context.flags.list("file").length === 0) return { declares };
  const { compiled } = await compileNamedFiles(context);
  const filters = compiled.filters.filter((each) => each.digest === digest).map(({ name }) => name);
  const missing = compiled.warnings.filter(
    ({ code, resource }) => code === "capability_not_granted" && filters.includes(resource.replace(/^Filter /, "")),
  );
  return { declares, filters, missing };
}

function printGrants(context: CommandContext, { declares, filters, missing = [] }: GrantsView): void {
  const { terminal } = context;
  if (declares.length > 0) terminal.out("\nit declares that it needs, below spec.capabilities of its Filter resource:\n");
  for (const line of declares) terminal.out(`  ${printable(line)}\n`);
  if (filters === undefined) return;
  if (filters.length === 0) terminal.error(`${paintOf(context).yellow("!")} no Filter of these files names this module\n`);
  printWarnings(context, missing);
  if (filters.length > 0 && missing.length === 0)
    terminal.out(`${paintOf(context).green("✓")} ${printable(filters.join(", "))}: all that it declares is granted\n`);
}
