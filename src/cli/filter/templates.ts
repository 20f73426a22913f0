import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { FilterAbi } from "../../config/snapshot.ts";
import { embeddedPath } from "../../runtime/embedded.ts";
import { CommandError } from "../command.ts";
import type { Language, Template } from "./languages.ts";

/** What the README says of the module. */
const ABI_TEXTS: Readonly<Record<FilterAbi, string>> = {
  "proxy-wasm": "The module speaks proxy-wasm, so it runs in Envoy as well.",
  component: "The module is a WebAssembly component of the package `selvedge:filter`.",
  extism: "The module is a plug-in of Extism.",
};

/** How a new project is called: `shown` is its folder, and `program` ours, as its README has them. */
export interface Named {
  readonly name: string;
  readonly program: string;
  readonly shown: string;
}

/** Files of a new project by path. */
export function projectFiles(
  { name, program, shown }: Named,
  language: Language,
  abi: FilterAbi,
  template: Template,
): Map<string, string> {
  const { folder, title, source, bindings, bindingsText, toolchain } = template;
  const budget = template.budget === "" ? "" : `budget: ${template.budget}`;
  const values = {
    name,
    program,
    shown,
    language,
    abi,
    title,
    source,
    bindings,
    bindingsText,
    toolchain,
    budget,
    prepare: prepareLine(template, shown),
    abiText: ABI_TEXTS[abi],
  };
  const files = new Map<string, string>();
  for (const [path, text] of Object.entries(readBundle())) {
    const [from, ...rest] = path.split("/");
    if (from !== "common" && from !== folder) continue;
    const target = fill(rest.join("/"), values);
    files.set(target === "gitignore" ? ".gitignore" : target, fill(text, values));
  }
  return files;
}

/** What is to be typed before the first build, where the project was made; "": nothing. */
export const prepareLine = ({ prepare }: Template, shown: string): string =>
  prepare === undefined ? "" : `${prepare} --prefix ${shown}`;

/** Puts values in place of `{{name}}`; a line that has nothing but a name without a value goes away. */
function fill(text: string, values: Readonly<Record<string, string>>): string {
  const whole = text.replace(/^ *\{\{(\w+)\}\}\n/gm, (line, key: string) => (values[key] === "" ? "" : line));
  return whole.replace(/\{\{(\w+)\}\}/g, (written, key: string) => values[key] ?? written);
}

function readBundle(): Readonly<Record<string, string>> {
  const path =
    embeddedPath("filters/templates.bundle") ?? fileURLToPath(new URL("../../../dist/filters/templates.bundle", import.meta.url));
  if (!existsSync(path)) throw new CommandError("the templates are not built", "npm run build makes them");
  return JSON.parse(readFileSync(path, "utf8")) as Readonly<Record<string, string>>;
}
