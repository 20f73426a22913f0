import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type ConfigIssue, formatIssue } from "../../config/issue.ts";
import { type ReadYaml, readYaml } from "../../config/read-yaml.ts";
import { type CommandContext, CommandError, EXIT } from "../command.ts";
import { MANIFEST_FILE, type Manifest, manifestSchema } from "./manifest.ts";

/** A folder with a filter in it. */
export interface Project {
  readonly folder: string;
  /** As the user named it, for messages. */
  readonly shown: string;
  readonly manifest: Manifest;
  readonly read: ReadYaml<Manifest>;
}

/** Throws a `CommandError` when the folder or its manifest is not there or not as it must be. */
export function readProject(context: CommandContext, shown: string): Project {
  const folder = resolve(context.terminal.cwd, shown);
  const stat = statSync(folder, { throwIfNoEntry: false });
  if (stat === undefined) throw new CommandError(`${shown}: there is no such folder`, NEW_HINT, EXIT.usage);
  if (!stat.isDirectory()) throw new CommandError(`${shown} is no folder`, NEW_HINT, EXIT.usage);
  const project = findProject(context, folder, shown);
  if (project === undefined) throw new CommandError(`${shown} has no ${MANIFEST_FILE}`, NEW_HINT, EXIT.usage);
  return project;
}

const NEW_HINT = "selvedge filter new makes a folder with everything that a filter needs";

/** The project in a folder; undefined: no manifest. */
export function findProject(context: CommandContext, folder: string, shown: string): Project | undefined {
  const path = join(folder, MANIFEST_FILE);
  if (!existsSync(path)) return undefined;
  const read = readYaml(manifestSchema, readFileSync(path, "utf8"), join(shown, MANIFEST_FILE), context.terminal.env);
  if (!("value" in read)) throw issuesError(read);
  return { folder, shown, manifest: read.value, read };
}

/** All issues of a file as one error. */
export function issuesError(issues: readonly ConfigIssue[]): CommandError {
  return new CommandError(issues.map(formatIssue).join("\n"));
}

/** Test tables: the file itself, or every `*.test.yaml` of a folder. */
export function findTables(context: CommandContext, shown: string): string[] {
  const path = resolve(context.terminal.cwd, shown);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new CommandError(`${shown}: there is no such file or folder`, "", EXIT.usage);
  if (!stat.isDirectory()) return [shown];
  const names = readdirSync(path).filter((name) => /\.test\.ya?ml$/.test(name));
  if (names.length === 0)
    throw new CommandError(
      `${shown} has no test table`,
      "a table is a file named *.test.yaml; docs/filters.md explains it",
      EXIT.usage,
    );
  return names.sort().map((name) => join(shown, name));
}

/** The module that a table without `module` tests, for the resource's `file`. */
export function defaultsOf(context: CommandContext, table: string): Readonly<Record<string, unknown>> {
  const project = findProject(context, resolve(context.terminal.cwd, dirname(table)), dirname(table));
  if (project === undefined) return {};
  const { module, capabilities, budget } = project.read.written as Record<string, unknown>;
  return {
    module: { file: module },
    ...(capabilities === undefined ? {} : { capabilities }),
    ...(budget === undefined ? {} : { budget }),
  };
}
