import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { ConfigIssue } from "../config/issue.ts";
import { whyUnreadable } from "../core/why-unreadable.ts";
import { type CommandContext, CommandError, EXIT } from "./command.ts";
import { paintOf } from "./report.ts";
import { printable } from "./terminal.ts";

/** Several files as one text, and the way back from a line of it to a line of a file. */
export interface JoinedText {
  readonly text: string;
  /** The same issue with its place in the file. */
  place(issue: ConfigIssue): ConfigIssue;
}

/** One file as it was read. */
export interface NamedText {
  readonly file: string;
  readonly text: string;
}

interface Part {
  readonly file: string;
  readonly firstLine: number;
}

/** Reads what `-f` names: files, folders (their *.yaml, *.yml, *.json, in order), `-` for standard input. */
export async function readNamedFiles(context: CommandContext): Promise<NamedText[]> {
  const { flags, terminal } = context;
  const named = flags.list("file");
  if (named.length === 0) throw new CommandError("no file named", "name one with -f, or - for standard input", EXIT.usage);
  const texts: NamedText[] = [];
  for (const file of named.flatMap(expandFolder)) {
    if (file === "-") texts.push({ file: "<stdin>", text: await terminal.readStdin() });
    else texts.push({ file, text: readText(file) });
  }
  for (const { file, text } of texts) {
    // Not an error: one file of a folder may be all comments. But a generator that printed nothing must not look like success.
    if (EMPTY_TEXT.test(text)) terminal.error(`${paintOf(context).yellow("!")} ${printable(file)} has no resources\n`);
  }
  return texts;
}

/** Blank lines, comments, marks of YAML documents. Each line is matched in one way only, so no text takes long. */
const EMPTY_TEXT = /^\uFEFF?(?:(?:---|\.\.\.)?[ \t\r]*(?:#[^\n]*)?(?:\n|$))*$/;

/** The same as one text: one apply takes all or nothing. */
export async function readFiles(context: CommandContext): Promise<JoinedText> {
  const parts: Part[] = [];
  const lines: string[] = [];
  for (const { file, text } of await readNamedFiles(context)) {
    if (lines.length > 0) lines.push("---");
    parts.push({ file, firstLine: lines.length + 1 });
    // The end of the last line is the end of the part: without this a document would start in the middle of a line.
    lines.push(...text.replace(/\r?\n$/, "").split("\n"));
  }
  return { text: `${lines.join("\n")}\n`, place: (issue) => placeIn(parts, issue) };
}

function expandFolder(path: string): string[] {
  if (path === "-") return [path];
  try {
    if (!statSync(path).isDirectory()) return [path];
    const names = readdirSync(path).filter((name) => /\.(ya?ml|json)$/.test(name));
    if (names.length === 0) throw new CommandError(`${path}: no *.yaml, *.yml or *.json in this folder`, "", EXIT.usage);
    return names.sort().map((name) => join(path, name));
  } catch (error) {
    throw error instanceof CommandError ? error : unreadable(path, error);
  }
}

/** Throws a `CommandError` that names the first that is not there. */
export function assertExist(paths: readonly string[]): void {
  for (const path of paths) {
    try {
      statSync(path);
    } catch (error) {
      throw unreadable(path, error);
    }
  }
}

/** Throws a `CommandError` that names the file. */
export function readText(path: string, hint = ""): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw unreadable(path, error, hint);
  }
}

function unreadable(path: string, error: unknown, hint = ""): CommandError {
  return new CommandError(`cannot read ${path}: ${whyUnreadable(error)}`, hint, EXIT.usage);
}

function placeIn(parts: readonly Part[], issue: ConfigIssue): ConfigIssue {
  if (issue.line <= 0) return issue;
  const part = parts.findLast((each) => each.firstLine <= issue.line);
  return part === undefined ? issue : { ...issue, file: part.file, line: issue.line - part.firstLine + 1 };
}
