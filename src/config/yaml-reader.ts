import {
  Composer,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  Parser,
  parseAllDocuments,
  YAMLMap,
} from "yaml";
import { CONFIG_LIMITS } from "../core/limits.ts";
import type { IssueCode } from "./codes.ts";
import { JsonPlaces } from "./json-places.ts";
import { type JsonDocument, readJsonStream } from "./json-reader.ts";
import type { IssuePath, Json } from "./parse.ts";
import { retype, substituteVariables } from "./variables.ts";
import { firstProblemOf, sentence, tabLinesOf } from "./yaml-problems.ts";

/** A problem of the text, before anything is known about resources. */
export interface TextProblem {
  readonly code: IssueCode;
  readonly message: string;
  readonly hint: string;
  readonly line: number;
  readonly column: number;
}

/** One document of the stream as plain JSON. */
export interface TextDocument {
  readonly value: Json;
  /** Texts of scalars that had variables, by `JSON.stringify(path)`: what a field expects decides what they become. */
  readonly substituted: ReadonlyMap<string, string>;
  /** Paths of scalars whose variables have problems, which were reported. */
  readonly broken: readonly IssuePath[];
  /** Paths of mappings with a merge key, which was reported: what it brings is in the value. */
  readonly merged: readonly IssuePath[];
  /** Place of a value, or of its key; of the nearest parent when there is none. */
  locate(path: IssuePath, key?: boolean): { readonly line: number; readonly column: number };
}

type MutableJson = null | boolean | number | string | MutableJson[] | { [key: string]: MutableJson };
type Env = Readonly<Record<string, string | undefined>>;

/** Values that one document may hold after its aliases are expanded. */
const EXPANDED_NODES_MAX = 200_000;

/** A text as its documents. */
export interface ReadDocuments {
  readonly documents: readonly TextDocument[];
  readonly problems: readonly TextProblem[];
  /** Texts with documents that cannot be read; the problem was reported. */
  readonly lost: readonly string[];
}

/** Reads a stream of YAML documents (JSON is YAML). Never throws. */
export function readDocuments(text: string, env: Env): ReadDocuments {
  const lines = new LineTable(text);
  const problems: TextProblem[] = [];
  const report: Report = (offset, code, message, hint = "") => {
    if (problems.length > CONFIG_LIMITS.issues) return;
    problems.push({ code, message, hint, ...lines.placeOf(offset) });
  };
  const json = readJsonStream(text);
  if (json !== undefined) return { documents: json.map((each) => documentOfJson(each, lines)), problems, lost: [] };
  if (hasTooManyMarks(text)) {
    const message = `The text has more than ${CONFIG_LIMITS.yamlMarks} YAML indicators.`;
    report(0, "document_too_large", message, "apply it in parts, or as JSON");
    return { documents: [], problems, lost: [text] };
  }
  const documents: TextDocument[] = [];
  const lost: string[] = [];
  for (const part of parseParts(text)) {
    const reportHere: Report = (offset, ...rest) => report(part.offset + offset, ...rest);
    if (part.documents === undefined) reportHere(0, part.code, part.message);
    const tabLines = tabLinesOf(part.text);
    let isLost = part.documents === undefined;
    for (const document of part.documents ?? []) {
      if (reportSyntax(document, tabLines, reportHere)) {
        isLost = true;
        continue;
      }
      for (const { root, ...read } of new DocumentReader(document, env, reportHere).read()) {
        const locate = (path: IssuePath, key = false) => lines.placeOf(part.offset + offsetOf(document, root, path, key));
        documents.push({ ...read, locate });
      }
    }
    // Once, however many documents it has: a line of `...` ends one as well.
    if (isLost) lost.push(part.text);
  }
  return { documents, problems, lost };
}

/** Reports what keeps a document from being read; false when nothing does. */
function reportSyntax(document: Document.Parsed, tabLines: () => number, report: Report): boolean {
  // The composer's own stack overflow comes as an error of the document.
  const deep = document.errors.find((error) => /call stack/i.test(error.message));
  if (deep !== undefined) report(deep.pos[0], "too_deep", DEEP_MESSAGE);
  const problem = deep === undefined ? firstProblemOf(document, tabLines) : undefined;
  if (problem !== undefined) report(problem.offset, "yaml_syntax", problem.message, problem.hint);
  for (const warning of document.warnings) report(warning.pos[0], "yaml_unsupported", sentence(warning.message));
  return document.errors.length > 0;
}

type TextPart = { readonly text: string; readonly offset: number } & (
  | { readonly documents: readonly Document.Parsed[] }
  | { readonly documents: undefined; readonly code: IssueCode; readonly message: string }
);

/** The whole text; when something in it cannot be read, from one line of `---` to the next, so that only what is there is lost. */
function parseParts(text: string): TextPart[] {
  const starts = [0, ...[...text.matchAll(/^---(?=\s|$)/gm)].map(({ index }) => index).filter((index) => index > 0)];
  if (starts.length === 1) return [parsePart(text, 0)];
  const { documents, end } = parseGood(text);
  if (end === text.length) return [{ text, offset: 0, documents }];
  // What came before is not read a second time, but for the part in which the mistake may have begun.
  const from = starts.findLastIndex((start) => start <= end);
  const first = starts[from] as number;
  const before = documents.filter(({ range }) => range[0] < first);
  const parts = starts.slice(from).map((start, i) => parsePart(text.slice(start, starts[from + i + 1]), start));
  return before.length === 0 ? parts : [{ text: text.slice(0, first), offset: 0, documents: before }, ...parts];
}

/** Documents up to the first with a mistake, and where the last of them ends: where the text does when there is no mistake. */
function parseGood(text: string): { readonly documents: readonly Document.Parsed[]; readonly end: number } {
  const documents: Document.Parsed[] = [];
  let end = 0;
  try {
    for (const document of new Composer(OPTIONS).compose(new Parser().parse(text))) {
      if (document.errors.length > 0) return { documents, end };
      documents.push(document);
      end = document.range[2];
    }
  } catch {
    // Said of the part that it comes from.
    return { documents, end };
  }
  return { documents, end: text.length };
}

function parsePart(text: string, offset: number): TextPart {
  try {
    return { text, offset, documents: parseStream(text) };
  } catch (error) {
    // The composer of the library is recursive: what is nested too deeply ends here. So does whatever else it throws.
    const deep = error instanceof RangeError;
    const message = deep ? DEEP_MESSAGE : `The text cannot be read: ${firstLine(error)}`;
    return { text, offset, documents: undefined, code: deep ? "too_deep" : "yaml_syntax", message };
  }
}

/** 1 for the characters that make the YAML reader work. */
const MARKS = new Uint8Array(128);
for (const each of "\n,:-?[]{}&*|>\"'") MARKS[each.charCodeAt(0)] = 1;

/** A text of a few megabytes can hold work for minutes; counting what causes it takes milliseconds. */
function hasTooManyMarks(text: string): boolean {
  let marks = 0;
  for (let i = 0; i < text.length; i++) if (MARKS[text.charCodeAt(i)] === 1) marks++;
  return marks > CONFIG_LIMITS.yamlMarks;
}

const NO_TEXTS: ReadonlyMap<string, string> = new Map();
const NO_PATHS: readonly IssuePath[] = [];

function documentOfJson({ value, text, offset }: JsonDocument, lines: LineTable): TextDocument {
  const places = new JsonPlaces(text);
  const locate = (path: IssuePath, key = false) => lines.placeOf(offset + places.offsetOf(path, key));
  return { value, substituted: NO_TEXTS, broken: NO_PATHS, merged: NO_PATHS, locate };
}

type Report = (offset: number, code: IssueCode, message: string, hint?: string) => void;

const DEEP_MESSAGE = `Values are nested more than ${CONFIG_LIMITS.depth} deep.`;

const OPTIONS = {
  version: "1.2",
  schema: "core",
  merge: false,
  // Checked below: the library's own check is quadratic.
  uniqueKeys: false,
  stringKeys: true,
  prettyErrors: false,
  logLevel: "silent",
} as const;

function parseStream(text: string): readonly Document.Parsed[] {
  const parsed = parseAllDocuments(text, OPTIONS);
  return Array.isArray(parsed) ? parsed : [];
}

/** Offsets to lines and columns. The library's own counter loses lines behind some errors. */
class LineTable {
  readonly #starts = [0];

  constructor(readonly text: string) {
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) this.#starts.push(at + 1);
  }

  /** Of an offset, which is cut to the text; 1-based. */
  placeOf(offset: number): { line: number; column: number } {
    const at = Math.min(Math.max(offset, 0), this.text.length);
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] as number) <= at) low = middle;
      else high = middle;
    }
    return { line: low + 1, column: at - (this.#starts[low] as number) + 1 };
  }
}

const firstLine = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split("\n", 1)[0] ?? "";

/** One resource, or list of them, of a document. */
interface ReadPart {
  readonly value: MutableJson;
  readonly root: unknown;
  readonly substituted: ReadonlyMap<string, string>;
  readonly broken: readonly IssuePath[];
  readonly merged: readonly IssuePath[];
}

/** Turns the nodes of one document into plain JSON, with everything that must be refused on the way. */
class DocumentReader {
  #substituted = new Map<string, string>();
  #broken: IssuePath[] = [];
  #merged: IssuePath[] = [];
  #aliases = 0;
  #expanded = 0;
  #tooDeep = false;
  readonly #path: (string | number)[] = [];

  constructor(
    readonly document: Document.Parsed,
    readonly env: Env,
    readonly report: Report,
  ) {}

  /** Nothing for a document that is empty. */
  read(): ReadPart[] {
    const parts: ReadPart[] = [];
    for (const root of this.#splitResources(this.document.contents)) {
      this.#substituted = new Map();
      this.#broken = [];
      this.#merged = [];
      const value = this.#value(root, 0, false);
      if (value !== null) parts.push({ value, root, substituted: this.#substituted, broken: this.#broken, merged: this.#merged });
    }
    return parts;
  }

  /** Where a second `apiVersion` or `kind` stands, a line of `---` is missing: what is behind it is read as the next resource. */
  #splitResources(root: unknown): unknown[] {
    if (!isMap(root)) return [root];
    const parts: Pair[][] = [[]];
    let seen = new Set<unknown>();
    for (const pair of root.items) {
      const key = isScalar(pair.key) ? pair.key.value : undefined;
      if ((key === "apiVersion" || key === "kind") && seen.has(key)) {
        const message = `The key ${JSON.stringify(key)} is there twice: another resource begins here.`;
        this.report(startOf(pair.key), "duplicate_key", message, "put a line of --- in front of it");
        seen = new Set();
        parts.push([]);
      }
      seen.add(key);
      parts.at(-1)?.push(pair);
    }
    if (parts.length === 1) return [root];
    return parts.map((items) => {
      const map = new YAMLMap(this.document.schema);
      map.items.push(...items);
      const start = startOf(items[0]?.key);
      map.range = [start, start, start];
      return map;
    });
  }

  #value(node: unknown, depth: number, aliased: boolean): MutableJson {
    if (depth > CONFIG_LIMITS.depth) {
      if (!this.#tooDeep) this.report(startOf(node), "too_deep", DEEP_MESSAGE);
      this.#tooDeep = true;
      return null;
    }
    if (aliased && ++this.#expanded > EXPANDED_NODES_MAX) {
      if (this.#expanded === EXPANDED_NODES_MAX + 1) {
        this.report(startOf(node), "too_many_aliases", "Aliases expand to more than 200000 values.");
      }
      return null;
    }
    if (isAlias(node)) return this.#alias(node, depth);
    if (isMap(node)) return this.#map(node.items, depth, aliased);
    if (isSeq(node)) {
      return node.items.map((item, i) => this.#inside(i, () => this.#value(item, depth + 1, aliased)));
    }
    return isScalar(node) ? this.#scalar(node) : null;
  }

  #inside<T>(step: string | number, read: () => T): T {
    this.#path.push(step);
    const value = read();
    this.#path.pop();
    return value;
  }

  #alias(node: Node & { resolve(document: Document): unknown }, depth: number): MutableJson {
    if (++this.#aliases > CONFIG_LIMITS.yamlAliases) {
      if (this.#aliases === CONFIG_LIMITS.yamlAliases + 1) {
        const message = `There are more than ${CONFIG_LIMITS.yamlAliases} aliases.`;
        this.report(startOf(node), "too_many_aliases", message);
      }
      return null;
    }
    const target = node.resolve(this.document);
    if (target === undefined) this.report(startOf(node), "yaml_syntax", "There is no anchor for this alias.");
    return this.#value(target, depth + 1, true);
  }

  #map(items: readonly Pair[], depth: number, aliased: boolean): MutableJson {
    const map: { [key: string]: MutableJson } = {};
    const merged: MutableJson[] = [];
    for (const pair of items) {
      const key = isScalar(pair.key) ? pair.key.value : undefined;
      if (typeof key !== "string") {
        this.report(startOf(pair.key), "yaml_unsupported", "A key is not plain text.");
      } else if (key === "<<" || key === "__proto__") {
        const hint = key === "<<" ? "write the keys out, or use an alias for the whole value" : "";
        this.report(startOf(pair.key), "yaml_unsupported", `The key ${key} may not be used.`, hint);
        // Nobody is told that what stands there is missing.
        if (key === "<<") merged.push(this.#inside(key, () => this.#value(pair.value, depth + 1, aliased)));
      } else if (Object.hasOwn(map, key)) {
        this.report(startOf(pair.key), "duplicate_key", `The key ${JSON.stringify(key)} is there twice.`, "remove one of them");
      } else {
        map[key] = this.#inside(key, () => this.#value(pair.value, depth + 1, aliased));
      }
    }
    if (merged.length > 0 && this.#merged.length <= CONFIG_LIMITS.issues) this.#merged.push([...this.#path]);
    for (const each of merged.flat())
      if (typeof each === "object" && !Array.isArray(each)) Object.assign(map, { ...each, ...map });
    return map;
  }

  #scalar(node: { value: unknown; type?: string | undefined } & object): MutableJson {
    const { value } = node;
    if (typeof value === "string") return this.#text(node, value);
    if (typeof value === "number") {
      if (Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))) return value;
      this.report(startOf(node), "out_of_range", "The number cannot be represented exactly.", "quote it if it is text");
      return 0;
    }
    return typeof value === "boolean" ? value : null;
  }

  #text(node: { type?: string | undefined } & object, value: string): MutableJson {
    if (!value.includes("$")) return value;
    const { text, problems } = substituteVariables(value, this.env);
    for (const { code, message, hint } of problems) this.report(startOf(node), code, message, hint);
    if (problems.length > 0 && this.#broken.length <= CONFIG_LIMITS.issues) this.#broken.push([...this.#path]);
    if (text === value || problems.length > 0) return text;
    this.#substituted.set(JSON.stringify(this.#path), text);
    return node.type === "PLAIN" ? retype(text) : text;
  }
}

function startOf(node: unknown): number {
  const range = typeof node === "object" && node !== null && "range" in node ? node.range : undefined;
  return Array.isArray(range) ? Number(range[0]) : 0;
}

/** Of mappings that have many keys: they are not searched again for each issue. */
const pairs = new WeakMap<YAMLMap, ReadonlyMap<unknown, Pair>>();
const SEARCHED_KEYS = 32;

function pairOf(map: YAMLMap, key: string): Pair | undefined {
  const { items } = map;
  const isKey = (each: Pair): boolean => isScalar(each.key) && each.key.value === key;
  if (items.length <= SEARCHED_KEYS) return items.find(isKey);
  let known = pairs.get(map);
  if (known === undefined) {
    // Of a key that is there twice the first counts.
    known = new Map(items.map((each) => [isScalar(each.key) ? each.key.value : each, each] as const).reverse());
    pairs.set(map, known);
  }
  return known.get(key);
}

/** Offset of the value at a path; where the path leaves the document, of the last key that is there. */
function offsetOf(document: Document.Parsed, root: unknown, path: IssuePath, key: boolean): number {
  let node: unknown = root;
  let offset = startOf(node);
  for (const [i, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = pairOf(node, String(step));
      if (pair === undefined) return offset;
      const last = i === path.length - 1;
      const empty = pair.value === null || (isScalar(pair.value) && pair.value.value === null);
      offset = (last && key) || empty ? startOf(pair.key) : startOf(pair.value);
      node = pair.value;
    } else if (isSeq(node) && typeof step === "number" && step < node.items.length) {
      node = node.items[step];
      offset = startOf(node);
    } else {
      return offset;
    }
  }
  return offset;
}
