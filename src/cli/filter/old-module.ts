import { existsSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { type CommandContext, CommandError } from "../command.ts";
import { asTyped } from "../program.ts";
import { paintOf } from "../report.ts";
import { printable } from "../terminal.ts";
import { MANIFEST_FILE } from "./manifest.ts";
import { findProject, type Project } from "./project.ts";
import { newerSource } from "./watch-sources.ts";

/** Whoever edits and forgets to build would test, or push, what was there before. `file`: the module as the manifest names it. */
export function warnOfOldModule(context: CommandContext, project: Project, file: string): void {
  const source = newerSource(project.folder, resolve(project.folder, project.manifest.module));
  if (project.manifest.language === undefined || source === undefined) return;
  const build = asTyped(`selvedge filter build ${project.shown}`, context.terminal);
  context.terminal.error(`${paintOf(context).yellow("!")} ${printable(`${file} is older than ${source}: ${build}`)}\n`);
}

/** The project that a module was built by: the nearest folder above it with a manifest that names it; undefined: none, or none that can be read. */
export function projectOfModule(context: CommandContext, file: string): Project | undefined {
  const { cwd } = context.terminal;
  const path = resolve(cwd, file);
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    if (existsSync(join(folder, MANIFEST_FILE))) {
      const project = readAnyProject(context, folder, relative(cwd, folder) || ".");
      return project !== undefined && resolve(folder, project.manifest.module) === path ? project : undefined;
    }
    if (folder === dirname(folder)) return undefined;
  }
}

/** Its mistakes are a matter of `filter build`. */
function readAnyProject(context: CommandContext, folder: string, shown: string): Project | undefined {
  try {
    return findProject(context, folder, shown);
  } catch (error) {
    if (error instanceof CommandError) return undefined;
    throw error;
  }
}
