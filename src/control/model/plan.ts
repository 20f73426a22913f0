import type { Locate } from "../../config/compile.ts";
import type { ConfigIssue } from "../../config/issue.ts";
import { type Json, type ParsedResource, type ParseResult, parseResources, parseStored } from "../../config/parse.ts";
import type { PartialResource } from "../../config/prune.ts";
import type { RefusedKeys } from "../../config/refused.ts";
import type { Resource } from "../../config/schema/index.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import type { Change, LogEntry } from "../store/store.ts";
import { unknownRevision } from "./difference.ts";
import { controlIssue } from "./issues.ts";
import type { ControlModel, PreviewedResource, ResourceState } from "./model.ts";
import { hashOf, keyOf, parseKey, type ResourceKey } from "./resource.ts";

/** What a request would do to the current resources; whether the result compiles is decided later. */
export interface Plan {
  readonly changes: readonly Change[];
  /** What the request names, changed or not, there or not. */
  readonly requested: readonly ResourceKey[];
  /** All resources afterwards. */
  readonly next: ResourceState;
  /** Resources that this request brought, by key. */
  readonly parsed: ReadonlyMap<ResourceKey, Resource>;
  readonly locate: Locate;
  /** Resources of the request that have issues of their own: who refers to them is not told that they are missing. */
  readonly refused: RefusedKeys;
  /** What is sound of them. */
  readonly partial: readonly PartialResource[];
  /** Revision of a resource that the request does not bring. */
  readonly storedAt: (resource: Resource) => number | undefined;
  readonly issues: readonly ConfigIssue[];
  /** Set when the request fails for another reason than its content. */
  readonly failure?: "conflict" | "not_found";
}

/** A request as a function of the current resources: made again when somebody else was faster. */
export type Planner = (model: ControlModel) => Plan;

const NAME = ["metadata", "name"];

interface Desired {
  readonly refused?: RefusedKeys;
  readonly partial?: readonly PartialResource[];
  /** Undefined: deleted. */
  readonly resources: ReadonlyMap<ResourceKey, ParsedResource | undefined>;
  readonly issues: readonly ConfigIssue[];
  readonly failure?: Plan["failure"];
}

/** The resources of a text are created or replaced; all others stay. */
export function planApply(parsed: ParseResult, expected: ReadonlyMap<ResourceKey, number> | undefined): Planner {
  const { resources, partial, refused } = parsed;
  const named = partial.filter(({ isWhole }) => isWhole(["metadata"]));
  const issues = [...parsed.issues, ...duplicatesOf([...resources, ...named])];
  const desired = { resources: byKey(resources), issues, refused, partial: withoutRepeated(partial, resources) };
  return (model) => makePlan(model, withPrecondition(model, desired, expected));
}

/** `text`: references, one per line or as a JSON list of strings, or the resources themselves. */
export function planDelete(text: string, file: string, expected: ReadonlyMap<ResourceKey, number> | undefined): Planner {
  const { keys, issues } = readReferences(text, file);
  return (model) => {
    const missing = keys.filter((key) => !model.resources.has(key));
    const unknown = missing.map((key) =>
      controlIssue("unknown_resource", `There is no ${key}.`, "selvedge get lists what there is", key, file),
    );
    const desired: Desired = {
      resources: new Map(keys.map((key) => [key, undefined])),
      issues: [...issues, ...unknown],
      ...(unknown.length > 0 && issues.length === 0 ? { failure: "not_found" as const } : {}),
    };
    return makePlan(model, withPrecondition(model, desired, expected));
  };
}

/** Back to how all resources were after the apply with this revision. `history` is newest first and reaches beyond it. */
export function planRollback(revision: number, history: readonly LogEntry[]): Planner {
  return (model) => {
    const target = history.find((entry) => entry.revision === revision);
    if (target === undefined)
      return makePlan(model, { resources: new Map(), issues: [unknownRevision(revision)], failure: "not_found" });
    const written = new Map<ResourceKey, Json | undefined>();
    for (const entry of history) {
      if (entry.revision <= revision) break;
      for (const change of entry.changes) written.set(change.key, change.before);
    }
    return makePlan(model, readStored(written));
  };
}

/** Exactly these resources, and no others. */
export function planReplace(resources: readonly Json[], file: string): Planner {
  const parsed = resources.map((each) => parseStored(each, file));
  const wanted = byKey(parsed.flatMap((each) => each.resources));
  const issues = parsed.flatMap((each) => each.issues);
  return (model) => {
    const all = new Map<ResourceKey, ParsedResource | undefined>(wanted);
    for (const key of model.resources.keys()) if (!all.has(key)) all.set(key, undefined);
    return makePlan(model, { resources: all, issues });
  };
}

function makePlan(model: ControlModel, desired: Desired): Plan {
  const changes: Change[] = [];
  const removed: ResourceKey[] = [];
  const changed: PreviewedResource[] = [];
  const parsed = new Map<ResourceKey, Resource>();
  for (const [key, wanted] of desired.resources) {
    const current = model.resources.get(key);
    const hash = wanted === undefined ? undefined : hashOf(wanted.written);
    if (hash === current?.hash) continue;
    if (wanted === undefined || hash === undefined) removed.push(key);
    else {
      changed.push({ key, hash, resource: wanted.resource });
      parsed.set(key, wanted.resource);
    }
    changes.push({
      key,
      ...(current === undefined ? {} : { before: current.written }),
      ...(wanted === undefined ? {} : { after: wanted.written }),
    });
  }
  const brought = new Set<Resource>([...parsed.values(), ...(desired.partial ?? []).map((each) => each.resource)]);
  changes.sort((one, other) => (one.key < other.key ? -1 : 1));
  return {
    changes,
    requested: [...desired.resources.keys()],
    next: model.preview(removed, changed),
    parsed,
    locate: locatorOfDesired(desired),
    issues: desired.issues,
    refused: desired.refused ?? [],
    partial: desired.partial ?? [],
    storedAt: (resource) => (brought.has(resource) ? undefined : model.resources.get(keyOf(resource))?.revision),
    ...(desired.failure === undefined ? {} : { failure: desired.failure }),
  };
}

function withPrecondition(
  model: ControlModel,
  desired: Desired,
  expected: ReadonlyMap<ResourceKey, number> | undefined,
): Desired {
  const issues: ConfigIssue[] = [];
  for (const [key, revision] of expected ?? []) {
    const actual = model.resources.get(key)?.revision ?? 0;
    if (actual === revision) continue;
    const is = actual === 0 ? "does not exist" : `is at revision ${actual}`;
    const wanted = revision === 0 ? "not to exist" : `at revision ${revision}`;
    issues.push(
      controlIssue("revision_conflict", `${key} ${is}, expected ${wanted}.`, "read it again and repeat the change", key),
    );
  }
  return issues.length === 0 ? desired : { ...desired, issues: [...issues, ...desired.issues], failure: "conflict" };
}

/** Of two with one name, one would be lost without a word. */
function duplicatesOf(parsed: readonly ParsedResource[]): ConfigIssue[] {
  const first = new Map<ResourceKey, ParsedResource>();
  const issues: ConfigIssue[] = [];
  for (const each of parsed) {
    const key = keyOf(each.resource);
    const other = first.get(key);
    if (other === undefined) {
      first.set(key, each);
      continue;
    }
    const { file, line, column } = other.locate(NAME);
    const message = `There is another ${key.replace("/", " ")} in the same apply, at ${file}:${line}:${column}.`;
    const [code, hint, resource] = ["duplicate_resource", "rename or remove one", key.replace("/", " ")];
    issues.push({ code, message, hint, resource, path: NAME.join("."), ...each.locate(NAME) });
  }
  return issues;
}

/** Of two with one name, which was told, the whole one is compiled, or the first. */
function withoutRepeated(partial: readonly PartialResource[], resources: readonly ParsedResource[]): PartialResource[] {
  const seen = new Set(resources.map((each) => keyOf(each.resource)));
  return partial.filter(({ resource }) => {
    const isFirst = !seen.has(keyOf(resource));
    seen.add(keyOf(resource));
    return isFirst;
  });
}

function byKey(parsed: readonly ParsedResource[]): Map<ResourceKey, ParsedResource> {
  return new Map(parsed.map((each) => [keyOf(each.resource), each]));
}

function locatorOfDesired(desired: Desired): Locate {
  const byResource = new Map<Resource, ParsedResource>();
  for (const each of desired.resources.values()) if (each !== undefined) byResource.set(each.resource, each);
  return (resource, path) => byResource.get(resource)?.locate(path);
}

function readStored(written: ReadonlyMap<ResourceKey, Json | undefined>): Desired {
  const resources = new Map<ResourceKey, ParsedResource | undefined>();
  const issues: ConfigIssue[] = [];
  for (const [key, value] of written) {
    const parsed = value === undefined ? undefined : parseStored(value, "<history>");
    issues.push(...(parsed?.issues ?? []));
    resources.set(key, parsed?.resources[0]);
  }
  return { resources, issues };
}

function readReferences(
  text: string,
  file: string,
): { readonly keys: readonly ResourceKey[]; readonly issues: readonly ConfigIssue[] } {
  const lines = referenceLines(text);
  const keys = lines.map((line) => parseKey(line));
  const good = keys.filter((key) => key !== undefined);
  if (good.length === lines.length && lines.length > 0) return { keys: [...new Set(good)], issues: [] };
  // Some are references: then all are meant to be.
  if (good.length > 0 && !text.includes("apiVersion")) {
    const bad = lines.filter((_, i) => keys[i] === undefined);
    return {
      keys: [],
      issues: bad.map((line) =>
        controlIssue("bad_reference", `Not a reference: ${line.slice(0, 100)}`, "Kind/namespace/name", "", file),
      ),
    };
  }
  const parsed = parseResources(text, { file });
  const issues = [...parsed.issues];
  if (issues.length === 0 && parsed.resources.length === 0)
    issues.push(
      controlIssue("bad_reference", "Nothing is named that could be deleted.", "Kind/namespace/name, one per line", "", file),
    );
  return { keys: [...byKey(parsed.resources).keys()], issues };
}

function referenceLines(text: string): string[] {
  if (text.trimStart().startsWith("[")) {
    try {
      const list = parseShallowJson(text);
      if (Array.isArray(list) && list.every((each) => typeof each === "string")) return list;
    } catch {
      // Not a JSON list: then it is YAML, whose reader says what is wrong.
    }
  }
  return text
    .split("\n")
    .map((line) =>
      line
        .replace(/#.*$/, "")
        .replace(/^\s*-\s+/, "")
        .trim(),
    )
    .filter((line) => line !== "");
}
