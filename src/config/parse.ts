import { parseShallowJson } from "../core/json-text.ts";
import { CONFIG_LIMITS } from "../core/limits.ts";
import type { IssueCode } from "./codes.ts";
import { describeDialect } from "./dialects.ts";
import { describeZodIssues, firstIssues, valueAt } from "./field-issues.ts";
import { type ConfigIssue, issueOf, moreIssues, orderIssues } from "./issue.ts";
import { allowPatternSteps } from "./pattern-steps.ts";
import { type PartialResource, prune, startsWith } from "./prune.ts";
import { REFUSED_ANYTHING, type RefusedKeys } from "./refused.ts";
import { API_VERSION, KINDS, type Kind, RESOURCE_SCHEMAS, type Resource } from "./schema/index.ts";
import { formatSize } from "./schema/units.ts";
import { hintFor } from "./suggest.ts";
import { retype } from "./variables.ts";
import { readDocuments, type TextDocument } from "./yaml-reader.ts";

/** A value as JSON has it. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** Place in a text; 1-based, 0 when unknown. */
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
  /** What is sound of resources that have issues: compiled with the others, it shows what else is wrong. */
  readonly partial: readonly PartialResource[];
  /** Resources that are there but have issues, so that references to them are not called dangling. */
  readonly refused: RefusedKeys;
  /** At most `CONFIG_LIMITS.issues` and one that says so; in the order of the text. Beyond them no other resource is read. */
  readonly issues: readonly ConfigIssue[];
}

/** Reads a stream of YAML or JSON documents. Never throws; all issues at once, in the order of the text. */
export function parseResources(text: string, options: ParseOptions): ParseResult {
  const { file } = options;
  allowPatternSteps();
  const bytes = Buffer.byteLength(text);
  if (bytes > CONFIG_LIMITS.documentBytes) {
    const message = `The text has ${bytes} bytes, more than ${formatSize(CONFIG_LIMITS.documentBytes)}.`;
    return unreadable(issueOf({ code: "document_too_large", message, hint: "apply it in parts", file }));
  }
  if (options.format === "json" && !isJson(text))
    return unreadable(issueOf({ code: "yaml_syntax", message: "The text is not JSON.", file, line: 1, column: 1 }));
  const { documents, problems, lost } = readDocuments(text, options.env ?? {});
  const issues = problems.map((problem) => issueOf({ ...problem, file }));
  const reader = new ResourceReader(file, issues);
  for (const document of documents) reader.readDocument(document);
  for (const each of lost) reader.refused.push(...keysOfLost(each));
  return reader.result();
}

/** Reads one resource that was stored (`ParsedResource.written`): no variables, no places. */
export function parseStored(written: Json, file: string): ParseResult {
  allowPatternSteps();
  const reader = new ResourceReader(file, []);
  // Coercions of variables write into the value, so none are offered and the stored one stays as it is.
  reader.readDocument({ value: written, substituted: new Map(), broken: [], merged: [], locate: () => ({ line: 0, column: 0 }) });
  return reader.result();
}

const unreadable = (issue: ConfigIssue): ParseResult => ({
  ...{ resources: [], partial: [], refused: [REFUSED_ANYTHING], issues: [issue] },
});

function isJson(text: string): boolean {
  try {
    parseShallowJson(text);
    return true;
  } catch {
    return false;
  }
}

/** What a text that cannot be read holds, as far as its lines say it. */
function keysOfLost(text: string): string[] {
  const kinds = [...text.matchAll(/^[ \t"']*kind["']?[ \t]*:[ \t]*["']?([A-Za-z]+)/gm)].map((match) => match[1] ?? "");
  const names = [...text.matchAll(/[{,\s]["']?name["']?[ \t]*:[ \t]*["']?([a-z0-9][-a-z0-9.]*)/g)].map((match) => match[1] ?? "");
  if (kinds.length !== 1 || kinds[0] === "List" || names.length === 0) return [REFUSED_ANYTHING];
  return [...new Set(names)].map((name) => `${KINDS.find((each) => each === kinds[0]) ?? "*"} */${name}`);
}

/** `spec.rules[0].backends[1].service`, the way people write it. */
export function formatPath(path: IssuePath): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(step)) text += text === "" ? step : `.${step}`;
    else text += `[${JSON.stringify(step)}]`;
  }
  return text;
}

/** Who publishes by hand often sends the name of a file in the place of what is in it. */
function hintOfFileName(value: Json): string {
  if (typeof value !== "string" || !/^[^\s"'$`\\]{1,200}\.(ya?ml|json)$/.test(value)) return "";
  return `that is the name of a file: send what is in it, "$(cat ${value})"`;
}

class ResourceReader {
  readonly resources: ParsedResource[] = [];
  readonly partial: PartialResource[] = [];
  readonly refused: string[] = [];
  #counted = 0;
  /** Issues beyond those that are listed. */
  #more = 0;
  /** Resources that were not looked at, because there are more issues than are listed already. */
  #unread = 0;

  constructor(
    readonly file: string,
    readonly issues: ConfigIssue[],
  ) {}

  result(): ParseResult {
    const { resources, partial, refused, issues, file } = this;
    if (this.#unread > 0) refused.push(REFUSED_ANYTHING);
    // Those that are listed beyond the limit are counted when they are put in order.
    if (this.#more + this.#unread > 0) issues.push(moreIssues(this.#more, file, this.#unread));
    return { resources, partial, refused, issues: orderIssues(issues) };
  }

  /** More issues were found than are listed. */
  get #isFull(): boolean {
    return this.issues.length + this.#more > CONFIG_LIMITS.issues;
  }

  readDocument(document: TextDocument): void {
    const { value } = document;
    const isList = isMapping(value) && value.kind === "List" && Array.isArray(value.items);
    if (isList)
      for (const [i, item] of (value.items as readonly Json[]).entries()) this.#readResource(document, item, ["items", i]);
    else this.#readResource(document, value, []);
  }

  #readResource(document: TextDocument, value: Json, base: IssuePath): void {
    if (++this.#counted > CONFIG_LIMITS.resources) {
      if (this.#counted === CONFIG_LIMITS.resources + 1) {
        const message = `There are more than ${CONFIG_LIMITS.resources} resources.`;
        this.#report(document, [], "", { code: "too_many_resources", message, hint: "apply them in parts", path: [] });
        this.refused.push(REFUSED_ANYTHING);
      }
      return;
    }
    // Somebody may send a million mistakes, and looking for one takes ten times as long as reading what is right.
    if (this.#isFull) {
      this.#unread++;
      return;
    }
    const kind = this.#readKind(document, value, base);
    if (kind === undefined) {
      this.refused.push(keyOf("*", value));
      return;
    }
    const parsed = parseWithVariables(kind, value, document, base);
    const { file } = this;
    const isSound = below(document.broken, base).length + below(document.merged, base).length === 0;
    if (!parsed.success || !isSound) {
      this.#readPartly(document, value, base, kind, parsed.error?.issues ?? []);
      return;
    }
    this.resources.push({
      resource: parsed.data,
      written: value,
      locate: (path) => ({ file, ...document.locate([...base, ...path]) }),
    });
  }

  #readPartly(
    document: TextDocument,
    value: Json,
    base: IssuePath,
    kind: Kind,
    found: Parameters<typeof describeZodIssues>[0],
  ): void {
    const { file } = this;
    const name = nameOf(kind, value);
    this.refused.push(keyOf(kind, value));
    // What is not listed is only counted.
    const { issues, more } = firstIssues(found, CONFIG_LIMITS.issues);
    this.#more += more;
    const broken = below(document.broken, base);
    const report = (problem: Problem): void => {
      // Where a variable is missing, whatever else is wrong with the value follows from it.
      if (!broken.some((path) => startsWith(problem.path, path))) this.#report(document, base, name, problem);
    };
    for (const problem of describeZodIssues(issues, value, kind)) report(problem);
    // Beyond what is listed nobody sees what else there is.
    const pruned =
      more > 0 || this.#isFull ? undefined : prune(kind, value, { broken, merged: below(document.merged, base) }, this.#counted);
    if (pruned === undefined) return;
    for (const problem of pruned.problems) report(problem);
    const { resource, pathOf, isWhole, hasUnknownKey } = pruned;
    const locate = (path: IssuePath): Place => ({ file, ...document.locate([...base, ...path]) });
    this.partial.push({ resource, written: value, name, pathOf, isWhole, hasUnknownKey, locate });
  }

  /** The kind, when the envelope is one of ours. */
  #readKind(document: TextDocument, value: Json, base: IssuePath): Kind | undefined {
    const refuse = (code: IssueCode, message: string, hint: string, ...path: string[]) => {
      this.#report(document, base, "", { code, message, hint, path });
      return undefined;
    };
    const envelope = `apiVersion: ${API_VERSION}, kind, metadata and spec`;
    if (!isMapping(value)) return refuse("not_a_resource", "A document is not a mapping.", hintOfFileName(value) || envelope);
    const { apiVersion, kind } = value;
    if (typeof apiVersion !== "string" || typeof kind !== "string") {
      const missing = typeof apiVersion !== "string" ? "apiVersion" : "kind";
      return refuse("not_a_resource", `A resource has no ${missing}.`, envelope, ...(missing in value ? [missing] : []));
    }
    if (apiVersion !== API_VERSION) {
      const dialect = describeDialect(apiVersion, kind);
      if (dialect !== undefined) {
        return refuse("unsupported_dialect", `${kind} of ${dialect.name} is not translated yet.`, dialect.hint, "apiVersion");
      }
      return refuse("unknown_api_version", `${JSON.stringify(apiVersion)} is not known.`, `it is ${API_VERSION}`, "apiVersion");
    }
    const known = KINDS.find((each) => each === kind);
    return known ?? refuse("unknown_kind", `There is no kind ${JSON.stringify(kind)}.`, hintFor(kind, KINDS), "kind");
  }

  #report(document: TextDocument, base: IssuePath, resource: string, problem: Problem): void {
    const place = document.locate([...base, ...problem.path], problem.code === "unknown_key");
    const { code, message, hint } = problem;
    this.issues.push({ code, message, hint, resource, path: formatPath(problem.path), file: this.file, ...place });
  }
}

interface Problem {
  readonly code: IssueCode;
  readonly message: string;
  readonly hint: string;
  readonly path: IssuePath;
}

type Mapping = { readonly [key: string]: Json };

const isMapping = (value: Json): value is Mapping => typeof value === "object" && value !== null && !Array.isArray(value);

/** For `ParseResult.refused`: what cannot be read may be anything. */
function keyOf(kind: Kind | "*", value: Json): string {
  const part = (field: string, otherwise: string): string => {
    const text = valueAt(value, ["metadata", field]);
    if (text === undefined) return otherwise;
    return typeof text === "string" && /^[-a-z0-9.]{1,253}$/.test(text) ? text : "*";
  };
  return `${kind} ${part("namespace", "default")}/${part("name", "*")}`;
}

/** Those of the paths that lead into a resource, from there. */
const below = (paths: readonly IssuePath[], base: IssuePath): IssuePath[] =>
  paths.filter((path) => startsWith(path, base)).map((path) => path.slice(base.length));

function nameOf(kind: Kind, value: Json): string {
  const name = valueAt(value, ["metadata", "name"]);
  const namespace = valueAt(value, ["metadata", "namespace"]);
  if (typeof name !== "string" || name.length > CONFIG_LIMITS.nameChars) return kind;
  return `${kind} ${typeof namespace === "string" ? namespace : "default"}/${name}`;
}

/**
 * What a scalar with a variable becomes is decided by the field: `port: "${PORT}"` is a number, `body: ${CODE}` is text.
 * So where the type was wrong and the scalar had a variable, the other reading is tried.
 */
function parseWithVariables(kind: Kind, value: Json, document: TextDocument, base: IssuePath) {
  const schema: { safeParse(value: unknown): ReturnType<(typeof RESOURCE_SCHEMAS)[Kind]["safeParse"]> } = RESOURCE_SCHEMAS[kind];
  const first = schema.safeParse(value);
  if (first.success || document.substituted.size === 0) return first;
  let changed = false;
  for (const issue of first.error.issues) {
    if (issue.code !== "invalid_type" && issue.code !== "invalid_value") continue;
    const path = issue.path.map((step) => (typeof step === "number" ? step : String(step)));
    const text = document.substituted.get(JSON.stringify([...base, ...path]));
    const parent = text === undefined ? undefined : valueAt(value, path.slice(0, -1));
    if (text === undefined || typeof parent !== "object" || parent === null) continue;
    const wantsText = issue.code === "invalid_type" ? issue.expected === "string" : typeof issue.values[0] === "string";
    (parent as Record<string | number, Json>)[path.at(-1) as string | number] = wantsText ? text : retype(text);
    changed = true;
  }
  return changed ? schema.safeParse(value) : first;
}
