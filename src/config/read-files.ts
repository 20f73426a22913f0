import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, extname, isAbsolute, join, resolve } from "node:path";
import { whyUnreadable } from "../core/why-unreadable.ts";
import type { ConfigIssue } from "./issue.ts";
import { type ParsedResource, parseResources } from "./parse.ts";
import type { PartialResource } from "./prune.ts";
import { REFUSED_ANYTHING, type RefusedKeys } from "./refused.ts";

type Env = Readonly<Record<string, string | undefined>>;

export interface ReadConfig {
  readonly resources: readonly ParsedResource[];
  readonly partial: readonly PartialResource[];
  readonly refused: RefusedKeys;
  readonly issues: readonly ConfigIssue[];
}

const EXTENSIONS = new Set([".yaml", ".yml", ".json"]);

/**
 * Reads files, and the `*.yaml`, `*.yml` and `*.json` of folders (sorted, not recursively). Never throws. `onRead` hears of
 * every path, folders too, before it is looked at.
 */
export function readConfigFiles(paths: readonly string[], env: Env, onRead: (path: string) => void = () => {}): ReadConfig {
  const resources: ParsedResource[] = [];
  const partial: PartialResource[] = [];
  const refused: string[] = [];
  const issues: ConfigIssue[] = [];
  const files: string[] = [];
  const unreadable = (file: string, error: unknown): void => {
    const message = `${file} cannot be read: ${whyUnreadable(error)}.`;
    refused.push(REFUSED_ANYTHING);
    issues.push({ code: "file_unreadable", message, hint: "", resource: "", path: "", file, line: 0, column: 0 });
  };
  for (const path of paths) {
    onRead(path);
    try {
      files.push(...listFiles(path));
    } catch (error) {
      files.push(path);
      unreadable(path, error);
    }
  }
  for (const file of new Set(files)) {
    if (issues.some((issue) => issue.file === file)) continue;
    onRead(file);
    try {
      const text = readFileSync(file, "utf8");
      const parsed = parseResources(text, { file, env });
      resources.push(...parsed.resources);
      partial.push(...parsed.partial);
      refused.push(...parsed.refused);
      issues.push(...parsed.issues);
    } catch (error) {
      unreadable(file, error);
    }
  }
  return { resources, partial, refused, issues };
}

function listFiles(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => EXTENSIONS.has(extname(name)) && !name.startsWith("."));
  return names.sort().map((name) => join(path, name));
}

/** `readFile` for `compileSnapshot`: relative paths start at the folder of the resource's own file. `onRead` hears of each. */
export function createFileReader(onRead: (path: string) => void = () => {}): (path: string, from: string) => Uint8Array {
  return (path, from) => {
    const full = isAbsolute(path) ? path : resolve(from === "" ? "." : dirname(from), path);
    onRead(full);
    return new Uint8Array(readFileSync(full));
  };
}
