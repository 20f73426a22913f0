import { dirname, resolve } from "node:path";
import { formatIssue } from "../../config/issue.ts";
import { readYaml } from "../../config/read-yaml.ts";
import { type CommandContext, CommandError, EXIT } from "../command.ts";
import { readText } from "../files.ts";
import { readModuleFile } from "./module-file.ts";
import { warnOfOldModule } from "./old-module.ts";
import { defaultsOf, findProject, issuesError } from "./project.ts";
import type { TableInput } from "./table-run.ts";
import { tableSchema } from "./table-schema.ts";

/** Reads a test table and finds its module. Throws a `CommandError` with every issue of the table, or that there is no module. */
export function openTable(context: CommandContext, file: string): TableInput {
  const { cwd, env } = context.terminal;
  const read = readYaml(tableSchema, readText(resolve(cwd, file)), file, env);
  if (!("value" in read)) throw usage(issuesError(read).message, "docs/filters.md has the reference of test tables");
  const defaults = defaultsOf(context, file);
  const module = read.value.module ?? (defaults.module as { readonly file?: string } | undefined);
  if (module === undefined) {
    const issue = { hint: "", resource: "", path: "", code: "missing_field", message: "There is no module to test." };
    const hint = "write `module: { file: filter.wasm }`, or put the table beside a selvedge-filter.yaml";
    throw usage(formatIssue({ ...issue, file, line: 1, column: 1 }), hint);
  }
  const known = new Map<string, Uint8Array>();
  const readModule = (path: string): Uint8Array => {
    const bytes = known.get(path) ?? readModuleFile(context, resolve(cwd, dirname(file), path));
    known.set(path, bytes);
    return bytes;
  };
  // Whether the module is there at all is no matter of one test.
  if (module.file !== undefined) {
    requireModule(() => readModule(module.file ?? ""));
    const shown = dirname(file);
    const project = findProject(context, resolve(cwd, shown), shown);
    if (project?.manifest.module === module.file) warnOfOldModule(context, project, module.file);
  }
  return {
    table: read.value,
    written: read.written as Readonly<Record<string, unknown>>,
    ...{ defaults, locate: read.locate, readModule, createHost: context.launch.createFilterHost },
  };
}

function requireModule(read: () => void): void {
  try {
    read();
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error), "selvedge filter build makes it");
  }
}

const usage = (message: string, hint: string): CommandError => new CommandError(message, hint, EXIT.usage);
