import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { FilterAbi } from "../../config/snapshot.ts";
import { nearest } from "../../config/suggest.ts";
import { type Command, CommandError, EXIT } from "../command.ts";
import { ABIS, abisOf, defaultAbi, LANGUAGES, type Language, type Template, templateOf } from "../filter/languages.ts";
import { prepareLine, projectFiles } from "../filter/templates.ts";
import { programOf } from "../program.ts";
import { paintOf, printJson } from "../report.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter new",
  summary: "make a folder with a filter that builds and passes its tests",
  description:
    "Makes a folder <name> with source, bindings, README, selvedge-filter.yaml (name, version, JSON Schema of the settings, capabilities), a test table, and a gateway to try it with. AssemblyScript, Rust, Go, C and Zig make proxy-wasm modules, which run in Envoy too; JavaScript, TypeScript and Python make components of selvedge:filter. With --abi Rust makes a component or a plug-in of Extism as well, and Go a plug-in.",
  arguments: "<name>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    {
      ...{ name: "language", short: "l", type: "text", value: "<language>", suggestions: LANGUAGES },
      help: `One of ${LANGUAGES.join(", ")}.`,
    },
    {
      name: "abi",
      type: "text",
      value: "<abi>",
      suggestions: ABIS,
      defaultText: "what the language makes best",
      help: `How module and host talk: ${ABIS.join(", ")}.`,
    },
    { name: "dir", type: "text", value: "<folder>", default: ".", help: "Folder in which the new one is made." },
  ],
  examples: [
    { says: "a filter in Rust, in ./geo", line: "selvedge filter new geo --language rust" },
    { says: "the same as a component", line: "selvedge filter new geo --language rust --abi component" },
  ],
  async run(context) {
    const name = context.args[0] ?? "";
    const language = readLanguage(context.flags.text("language"));
    const { abi, template } = readAbi(language, context.flags.text("abi"));
    if (!/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name))
      throw new CommandError(
        `${printable(JSON.stringify(name))} is no name for a filter`,
        "lower-case letters, digits and dashes, a letter first",
        EXIT.usage,
      );
    const shown = join(context.flags.text("dir") ?? ".", name);
    const folder = resolve(context.terminal.cwd, shown);
    if (existsSync(folder) && readdirSync(folder).length > 0)
      throw new CommandError(`${shown} is there already and not empty`, "choose another name, or --dir", EXIT.usage);
    const program = programOf(context.terminal);
    const files = projectFiles({ name, program, shown }, language, abi, template);
    for (const [path, text] of files) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    if (context.flags.on("json")) {
      printJson(context, { folder: shown, language, abi, files: [...files.keys()].sort() });
      return EXIT.ok;
    }
    const paint = paintOf(context);
    context.terminal.out(`${paint.green("✓")} ${shown}: ${files.size} files, ${template.title}, ${abi}\n`);
    const prepare = prepareLine(template, shown);
    const lines = ["build", "test", "run"].map((command) => `${program} filter ${command} ${shown}`);
    context.terminal.out(`\n${[...(prepare === "" ? [] : [prepare]), ...lines].map((line) => `  ${line}\n`).join("")}\n`);
    context.terminal.out(`${template.toolchain}\n`);
    return EXIT.ok;
  },
};

/** Short names that people type. */
const ALSO_CALLED: Readonly<Record<string, Language>> = {
  ...{ as: "assemblyscript", golang: "go", js: "javascript", py: "python", rs: "rust", ts: "typescript" },
};

function readLanguage(text: string | undefined): Language {
  const language = LANGUAGES.find((each) => each === text);
  if (language !== undefined) return language;
  if (text === undefined) throw new CommandError("no language named", `write --language ${LANGUAGES.join("|")}`, EXIT.usage);
  const near = ALSO_CALLED[text.toLowerCase()] ?? nearest(text, LANGUAGES);
  const hint = near === undefined ? `there are ${LANGUAGES.join(", ")}` : `did you mean ${near}?`;
  throw new CommandError(`there is no template for ${printable(text)}`, hint, EXIT.usage);
}

function readAbi(language: Language, text: string | undefined): { readonly abi: FilterAbi; readonly template: Template } {
  const abi = text === undefined ? defaultAbi(language) : ABIS.find((each) => each === text);
  if (abi === undefined)
    throw new CommandError(`there is no ABI ${printable(text ?? "")}`, `there are ${ABIS.join(", ")}`, EXIT.usage);
  const template = templateOf(language, abi);
  if (template !== undefined) return { abi, template };
  throw new CommandError(
    `there is no template for ${language} with ${abi}`,
    `${language} has ${abisOf(language).join(", ")}; filter test, bench, sign and push take modules that were built elsewhere`,
    EXIT.usage,
  );
}
