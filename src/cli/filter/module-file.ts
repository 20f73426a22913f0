import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { formatSize } from "../../config/schema/units.ts";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { type CommandContext, CommandError, EXIT } from "../command.ts";
import { findProject } from "./project.ts";

/** What a command was given: the module itself, or the folder of a filter, whose manifest names it. */
export function moduleArgument(context: CommandContext, given: string): string {
  const folder = resolve(context.terminal.cwd, given);
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) return given;
  const project = findProject(context, folder, given);
  return project === undefined ? given : join(given, project.manifest.module);
}

/** The bytes of a file that somebody named; throws a `CommandError` that says what is wrong with it. */
export function readModuleFile(context: CommandContext, file: string): Uint8Array {
  const path = resolve(context.terminal.cwd, file);
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new CommandError(`${file}: there is no such file`, "", EXIT.usage);
  if (stat.isDirectory())
    throw new CommandError(`${file} is a folder`, "name the .wasm file in it; selvedge filter build makes it", EXIT.usage);
  if (!stat.isFile()) throw new CommandError(`${file} is no file`, "name a .wasm file", EXIT.usage);
  if (stat.size > CONFIG_LIMITS.moduleBytes)
    throw new CommandError(`${file} has ${stat.size} bytes; a module may have ${formatSize(CONFIG_LIMITS.moduleBytes)}`);
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new CommandError(`cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
