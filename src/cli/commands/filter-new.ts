import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type Command, CommandError, EXIT } from "../command.ts";
import { LANGUAGES, type Language } from "../filter/manifest.ts";
import { LANGUAGE_TEXTS, projectFiles } from "../filter/templates.ts";
import { paintOf, printJson } from "../report.ts";
import { printable } from "../terminal.ts";

const COMPONENT_HINT = "filter test, bench, sign and push take a component that was built elsewhere";

/** Languages that people ask for and that have no template here. */
const COMPONENT_LANGUAGES = ["javascript", "typescript", "python"];

export const command: Command = {
  name: "filter new",
  summary: "make a folder with a filter that builds and passes its tests",
  description:
    "Makes a folder <name> with source, bindings, README, selvedge-filter.yaml (name, version, JSON Schema of the settings, capabilities), a test table, and a gateway to try it with. All languages make proxy-wasm modules, which run in Envoy too. JavaScript, TypeScript and Python become components and have no template yet.",
  arguments: "<name>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "language", short: "l", type: "text", value: "<language>", help: `One of ${LANGUAGES.join(", ")}.` },
    { name: "dir", type: "text", value: "<folder>", default: ".", help: "Folder in which the new one is made." },
  ],
  examples: [{ says: "a filter in Rust, in ./geo", line: "selvedge filter new geo --language rust" }],
  async run(context) {
    const name = context.args[0] ?? "";
    const language = readLanguage(context.flags.text("language"));
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
    const files = projectFiles(name, language);
    for (const [path, text] of files) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    if (context.flags.on("json")) {
      printJson(context, { folder: shown, language, files: [...files.keys()].sort() });
      return EXIT.ok;
    }
    const paint = paintOf(context);
    context.terminal.out(`${paint.green("✓")} ${shown}: ${files.size} files, ${LANGUAGE_TEXTS[language].title}\n`);
    context.terminal.out(
      `\n  selvedge filter build ${shown}\n  selvedge filter test ${shown}\n  selvedge filter run ${shown}\n\n`,
    );
    context.terminal.out(`${LANGUAGE_TEXTS[language].toolchain}\n`);
    return EXIT.ok;
  },
};

function readLanguage(text: string | undefined): Language {
  const language = LANGUAGES.find((each) => each === text);
  if (language !== undefined) return language;
  if (text === undefined) throw new CommandError("no language named", `write --language ${LANGUAGES.join("|")}`, EXIT.usage);
  if (COMPONENT_LANGUAGES.includes(text))
    throw new CommandError(
      `there is no template for ${text} yet: its filters are components`,
      text === "python" ? COMPONENT_HINT : `packages/filter is the SDK; ${COMPONENT_HINT}`,
      EXIT.usage,
    );
  throw new CommandError(`there is no template for ${printable(text)}`, `there are ${LANGUAGES.join(", ")}`, EXIT.usage);
}
