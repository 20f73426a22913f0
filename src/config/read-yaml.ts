import { z } from "zod";
import { describeZodIssues, type SchemaNode } from "./field-issues.ts";
import type { ConfigIssue } from "./issue.ts";
import { formatPath, type IssuePath, type Json } from "./parse.ts";
import { readDocuments } from "./yaml-reader.ts";

/** A file that a schema accepted, with the way back from a value to its place. */
export interface ReadYaml<T> {
  readonly file: string;
  readonly value: T;
  /** As it was written. */
  readonly written: Json;
  locate(path: IssuePath): { readonly line: number; readonly column: number };
}

type Env = Readonly<Record<string, string | undefined>>;

/** Reads one YAML document by a schema. All issues at once, in the order of the text; never throws for what somebody wrote. */
export function readYaml<S extends z.ZodType>(
  schema: S,
  text: string,
  file: string,
  env: Env,
): ReadYaml<z.output<S>> | readonly ConfigIssue[] {
  const { documents, problems } = readDocuments(text, env);
  const nowhere = { resource: "", path: "", file };
  const issues: ConfigIssue[] = problems.map((problem) => ({ ...nowhere, ...problem }));
  const [document, second] = documents;
  if (issues.length > 0) return issues;
  if (document === undefined || second !== undefined) {
    const message = document === undefined ? "The file is empty." : "The file has more than one document.";
    return [{ ...nowhere, code: "yaml_syntax", message, hint: "", line: 1, column: 1 }];
  }
  const written = document.value;
  const parsed = schema.safeParse(written);
  if (parsed.success) return { file, value: parsed.data, written, locate: (path) => document.locate(path) };
  const node = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as SchemaNode;
  for (const { code, message, hint, path } of describeZodIssues(parsed.error.issues, written, node)) {
    const place = document.locate(path, code === "unknown_key");
    issues.push({ ...nowhere, code, message, hint, path: formatPath(path), ...place });
  }
  return issues.sort((a, b) => a.line - b.line || a.column - b.column);
}
