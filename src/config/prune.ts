import type { z } from "zod";
import { CONFIG_LIMITS } from "../core/limits.ts";
import { describeZodIssues, type FieldProblem, fieldsAt, fittingErrors, valueAt } from "./field-issues.ts";
import type { IssuePath, Json, ParsedResource, Place } from "./parse.ts";
import { type Kind, RESOURCE_SCHEMAS, type Resource } from "./schema/index.ts";
import { nearest } from "./suggest.ts";

/**
 * What is sound of a resource that has issues, so that the mistakes in the rest of it are told in the same round. It is
 * compiled beside the others and never served. Paths of `resource` are not those of the text: what was taken out of a list
 * moved the items behind it.
 */
export interface PartialResource extends ParsedResource {
  /** `Route default/shop`, as far as the name could be read. */
  readonly name: string;
  /** The path in the text of something in `resource`. */
  pathOf(path: IssuePath): IssuePath;
  /** Is nothing taken out at this path of the text, below it or around it? */
  isWhole(path: IssuePath): boolean;
  /** Is there a key in the mapping at this path of the text that is none of its fields? Who wrote it meant something. */
  hasUnknownKey(path: IssuePath): boolean;
  /** Of a path in the text. */
  locate(path: IssuePath): Place;
}

/** What was sound, and how its paths lead back. */
export interface Pruned {
  readonly resource: Resource;
  pathOf(path: IssuePath): IssuePath;
  isWhole(path: IssuePath): boolean;
  hasUnknownKey(path: IssuePath): boolean;
  /** What the schema asks only of values that are sound in themselves, and is wrong as well; with paths of the text. */
  readonly problems: readonly FieldProblem[];
}

type ZodIssue = z.core.$ZodIssue;
type Mutable = null | boolean | number | string | Mutable[] | { [key: string]: Mutable };

/** Every round takes something out; what needs more of them is not worth the time. */
const ROUNDS = 12;

/** Places that were told to be wrong before anything is known about resources. */
export interface Unsound {
  /** Taken out. */
  readonly broken: readonly IssuePath[];
  /** Left, but nothing is concluded from them. */
  readonly merged: readonly IssuePath[];
}

/**
 * Takes out of a resource what its schema refuses, and what is broken beforehand, until the rest passes. A key with a typing error is
 * read as the one that was meant. Undefined: nothing is left. `unique` is another number for each resource of a text.
 */
export function prune(kind: Kind, value: Json, { broken, merged }: Unsound, unique: number): Pruned | undefined {
  const pruner = new Pruner(kind, structuredClone(value) as Mutable, merged);
  const problems: FieldProblem[] = [];
  if (!pruner.takeOut(broken.map((path) => [...path]))) return undefined;
  const schema: { safeParse(value: unknown): ReturnType<(typeof RESOURCE_SCHEMAS)[Kind]["safeParse"]> } = RESOURCE_SCHEMAS[kind];
  for (let round = 0; round < ROUNDS; round++) {
    const parsed = schema.safeParse(pruner.value);
    if (parsed.success) {
      const resource = pruner.isWhole(NAME) ? parsed.data : renamed(parsed.data, unique);
      const pathOf = (path: IssuePath): IssuePath => pruner.pathOf(path);
      const hasUnknownKey = (path: IssuePath): boolean => pruner.hasUnknownKey(path);
      return { resource, pathOf, isWhole: (path) => pruner.isWhole(path), hasUnknownKey, problems };
    }
    const { issues } = parsed.error;
    if (round > 0) problems.push(...pruner.furtherProblems(issues));
    if (!pruner.takeOut(issues.flatMap((issue) => pruner.culpritsOf(issue, [])))) return undefined;
  }
  return undefined;
}

const NAME = ["metadata", "name"];

/** A name that nobody can write stands in for one that cannot be read, so that two of them are not the same. */
function renamed(resource: Resource, unique: number): Resource {
  return { ...resource, metadata: { ...resource.metadata, name: `?${unique}` } };
}

class Pruner {
  /** Paths of the text: what was taken out, what of it is no field, and keys that were read as others. */
  readonly #gone: IssuePath[];
  readonly #unknown = new Set<IssuePath>();
  readonly #misspelt: IssuePath[] = [];
  /** Where the items of a list that lost some stood, and what keys that were renamed were called. */
  readonly #items = new WeakMap<object, number[]>();
  readonly #keys = new WeakMap<object, Map<string, string>>();

  constructor(
    readonly kind: Kind,
    readonly value: Mutable,
    merged: readonly IssuePath[],
  ) {
    this.#gone = [...merged];
  }

  culpritsOf(issue: ZodIssue, prefix: IssuePath): IssuePath[] {
    const path = [...prefix, ...stepsOf(issue)];
    if (issue.code === "unrecognized_keys")
      return issue.keys.flatMap((key) => (this.#rename(path, key) ? [] : [this.#markUnknown([...path, key])]));
    if (issue.code === "invalid_union") {
      const errors = fittingErrors(issue);
      if (errors !== undefined) return errors.flatMap((each) => this.culpritsOf(each, path));
    }
    // What is missing is missing in what is around it.
    return [valueAt(this.value, path) === undefined ? path.slice(0, -1) : path];
  }

  /** Rules about several fields are only looked at when each is sound: those that none of what was taken out can have broken. */
  furtherProblems(issues: readonly ZodIssue[]): FieldProblem[] {
    const custom = issues.filter((issue) => issue.code === "custom" && this.#isAboutSoundFields(stepsOf(issue)));
    return describeZodIssues(custom, this.value, this.kind).map((each) => ({ ...each, path: this.pathOf(each.path) }));
  }

  #isAboutSoundFields(path: IssuePath): boolean {
    const around = this.pathOf(typeof path.at(-1) === "number" ? path : path.slice(0, -1));
    if (this.#misspelt.some((each) => startsWith(around, each))) return false;
    return !this.#gone.some((gone) => !this.#unknown.has(gone) && (startsWith(gone, around) || startsWith(around, gone)));
  }

  #markUnknown(path: IssuePath): IssuePath {
    this.#unknown.add(path);
    return path;
  }

  /** Reads a key as the one that was meant. */
  #rename(path: IssuePath, key: string): boolean {
    const parent = valueAt(this.value, path) as { [key: string]: Mutable };
    const meant = nearest(key, fieldsAt(this.kind, path));
    const names = this.#keys.get(parent) ?? new Map<string, string>();
    if (meant === undefined || Object.hasOwn(parent, meant)) return false;
    this.#misspelt.push([...this.pathOf(path), key]);
    parent[meant] = parent[key] as Mutable;
    delete parent[key];
    this.#keys.set(parent, names.set(meant, key));
    return true;
  }

  /** False: nothing is left. */
  takeOut(paths: readonly IssuePath[]): boolean {
    const each = new Map(paths.map((path) => [JSON.stringify(path), path]));
    // Behind first, so that what stands before keeps its place.
    for (const path of [...each.values()].sort(comparePaths).reverse()) if (!this.#takeOne(path)) return false;
    // More than that is not listed, and looking through it takes time.
    return this.#gone.length <= CONFIG_LIMITS.issues;
  }

  #takeOne(path: IssuePath): boolean {
    const last = path.at(-1);
    if (last === undefined || (path.length === 1 && last === "spec" && this.kind !== "Mesh")) return false;
    const inText = this.pathOf(path);
    if (this.#unknown.has(path)) this.#unknown.add(inText);
    this.#gone.push(inText);
    if (path[0] === "metadata" && path.length <= 2) {
      this.#takeName(path[1]);
      return true;
    }
    const parent = valueAt(this.value, path.slice(0, -1)) as Mutable | undefined;
    if (Array.isArray(parent)) this.#takeItem(parent, Number(last));
    else if (typeof parent === "object" && parent !== null) delete parent[last];
    return true;
  }

  #takeItem(list: Mutable[], at: number): void {
    const items = this.#items.get(list) ?? list.map((_, i) => i);
    items.splice(at, 1);
    list.splice(at, 1);
    this.#items.set(list, items);
  }

  #takeName(field: string | number | undefined): void {
    const envelope = this.value as { [key: string]: Mutable };
    const { metadata } = envelope;
    const isMapping = typeof metadata === "object" && metadata !== null && !Array.isArray(metadata);
    const kept: { [key: string]: Mutable } = isMapping && field !== undefined ? metadata : {};
    if (field !== undefined) delete kept[field];
    kept.name ??= "refused";
    envelope.metadata = kept;
  }

  pathOf(path: IssuePath): IssuePath {
    let at: Json | undefined = this.value;
    return path.map((step) => {
      const holder: Json | undefined = at;
      at = holder === undefined ? undefined : valueAt(holder, [step]);
      if (typeof holder !== "object" || holder === null) return step;
      return typeof step === "number" ? (this.#items.get(holder)?.[step] ?? step) : (this.#keys.get(holder)?.get(step) ?? step);
    });
  }

  hasUnknownKey(path: IssuePath): boolean {
    return [...this.#unknown].some((each) => isParent(path, each));
  }

  isWhole(path: IssuePath): boolean {
    return !this.#gone.some((gone) => startsWith(gone, path) || startsWith(path, gone));
  }
}

const isParent = (parent: IssuePath, path: IssuePath): boolean => path.length === parent.length + 1 && startsWith(path, parent);

const stepsOf = (issue: ZodIssue): IssuePath => issue.path.map((step) => (typeof step === "number" ? step : String(step)));

/** Is `beginning` the path itself, or something around it? */
export const startsWith = (path: IssuePath, beginning: IssuePath): boolean =>
  beginning.length <= path.length && beginning.every((step, i) => step === path[i]);

function comparePaths(a: IssuePath, b: IssuePath): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left, right] = [a[i] as string | number, b[i] as string | number];
    if (left === right) continue;
    return typeof left === "number" && typeof right === "number" ? left - right : String(left) < String(right) ? -1 : 1;
  }
  return a.length - b.length;
}
