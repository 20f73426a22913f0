import type { ConfigIssue } from "./issue.ts";
import type { Resource } from "./schema/index.ts";

/** A value as JSON has it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Place in a text; 1-based. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export type IssuePath = readonly (string | number)[];

/** One resource of a text. */
export interface ParsedResource {
  readonly resource: Resource;
  /** As the user wrote it (variables substituted, aliases expanded): what is stored, shown and parsed again. */
  readonly written: Json;
  /** Where a value stands (`["spec", "rules", 0]`); falls back to the nearest parent. */
  locate(path: IssuePath): Place;
}

export interface ParseOptions {
  /** For issues, and the folder of relative paths: a path, `<nats>`, `<api>`. */
  readonly file: string;
  /** For `${NAME}`; leave it out where no variables may be read: then only those with a default work. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** JSON is YAML: the default reads both. `json` refuses everything else. */
  readonly format?: "yaml" | "json";
}

export interface ParseResult {
  readonly resources: readonly ParsedResource[];
  readonly issues: readonly ConfigIssue[];
}

/** Reads a stream of YAML or JSON documents. Never throws; all issues at once, in the order of the text. */
export function parseResources(_text: string, _options: ParseOptions): ParseResult {
  throw new Error("not yet");
}

/** Reads one resource that was stored (`ParsedResource.written`): no variables, no places. */
export function parseStored(_written: Json, _file: string): ParseResult {
  throw new Error("not yet");
}
