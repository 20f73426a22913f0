import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { nearest } from "../config/suggest.ts";
import { type Command, CommandError, EXIT, GLOBAL_FLAGS } from "./command.ts";

const DEFAULT_FILE = "selvedge.yaml";
/** Flags that make no sense in a file. */
const NOT_IN_FILE: ReadonlySet<string> = new Set(["help", "config"]);

/**
 * Values from a configuration file: flag names at the top for every command, or below a command's name for that one alone.
 *
 *     log-level: debug
 *     proxy:
 *       workers: 2
 *
 * The default file may be missing; a named one may not. Unknown keys are refused. A `selvedge.yaml` that holds resources
 * (`apiVersion`) is not a file of flags: it is left alone unless it was named.
 */
export async function readFlagFile(
  named: string | undefined,
  cwd: string,
  command: Command,
  loadAll: () => Promise<readonly Command[]>,
): Promise<ReadonlyMap<string, unknown>> {
  const path = named ?? join(cwd, DEFAULT_FILE);
  if (named === undefined && !existsSync(path)) return new Map();
  const { parse } = await import("yaml");
  const content = parseFile(path, parse);
  if (content === null || content === undefined) return new Map();
  if (typeof content !== "object" || Array.isArray(content))
    throw new CommandError(`${path}: a mapping of flag names to values is needed`, "", EXIT.usage);
  if ("apiVersion" in content && named === undefined) return new Map();
  return collect(path, new Map(Object.entries(content)), command, await loadAll());
}

function parseFile(path: string, parse: (text: string) => unknown): unknown {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new CommandError(
      `cannot read ${path}: ${(error as Error).message}`,
      "--config names a file with flag values",
      EXIT.usage,
    );
  }
  try {
    return parse(text);
  } catch (error) {
    throw new CommandError(`${path}: ${(error as Error).message}`, "", EXIT.usage);
  }
}

function collect(
  path: string,
  content: ReadonlyMap<string, unknown>,
  command: Command,
  all: readonly Command[],
): ReadonlyMap<string, unknown> {
  const anyFlag = new Set([...GLOBAL_FLAGS, ...all.flatMap((each) => each.flags)].map((flag) => flag.name));
  for (const name of NOT_IN_FILE) anyFlag.delete(name);
  const names = new Set(all.map((each) => each.name));
  // `proxy` is a command and a flag of another one, which can be given below that one's name only.
  for (const name of names) anyFlag.delete(name);
  const values = new Map<string, unknown>();
  for (const [key, value] of content) {
    if (anyFlag.has(key)) values.set(key, value);
    else if (!names.has(key)) refuse(path, key, [...anyFlag, ...names]);
  }
  for (const section of all) {
    const own = content.get(section.name);
    if (own === undefined || own === null) continue;
    if (typeof own !== "object") throw new CommandError(`${path}: ${section.name} must be a mapping`, "", EXIT.usage);
    const flags = [...GLOBAL_FLAGS, ...section.flags].map((flag) => flag.name).filter((name) => !NOT_IN_FILE.has(name));
    for (const [key, value] of Object.entries(own)) {
      if (!flags.includes(key)) refuse(path, `${section.name}.${key}`, flags);
      if (section.name === command.name) values.set(key, value);
    }
  }
  return values;
}

function refuse(path: string, key: string, known: readonly string[]): never {
  const near = nearest(key.slice(key.indexOf(".") + 1), known);
  throw new CommandError(`${path}: unknown key ${key}`, near === undefined ? "" : `did you mean ${near}?`, EXIT.usage);
}
