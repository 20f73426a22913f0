import type { z } from "zod";
import type { IssueCode } from "./codes.ts";
import type { IssuePath, Json } from "./parse.ts";
import { jsonSchema, type Kind } from "./schema/index.ts";
import { hintFor, nearest } from "./suggest.ts";

/** A problem of one field, without its place. */
export interface FieldProblem {
  readonly code: IssueCode;
  readonly message: string;
  readonly hint: string;
  readonly path: IssuePath;
}

type ZodIssue = z.core.$ZodIssue;

/** The first of what zod found, and how many there are besides: a key that is none counts as one. */
export function firstIssues(
  issues: readonly ZodIssue[],
  max: number,
): { readonly issues: readonly ZodIssue[]; readonly more: number } {
  const first: ZodIssue[] = [];
  let left = max;
  let more = 0;
  for (const issue of issues) {
    const keys = issue.code === "unrecognized_keys" ? issue.keys : undefined;
    const count = keys?.length ?? 1;
    if (left > 0) first.push(keys === undefined || count <= left ? issue : ({ ...issue, keys: keys.slice(0, left) } as ZodIssue));
    more += Math.max(0, count - left);
    left = Math.max(0, left - count);
  }
  return { issues: first, more };
}

/** Puts what zod found into our codes and words. `value` is what was parsed; `kind` whose schema it was, or JSON Schema of it. */
export function describeZodIssues(issues: readonly ZodIssue[], value: Json, kind: Kind | SchemaNode): FieldProblem[] {
  return withoutConsequences(
    issues.flatMap((issue) => describe(issue, value, kind, [])),
    kind,
  );
}

/** A stranger's schema may have thousands of fields: then none is compared with what was written. */
const HINTED_FIELDS = 256;

function hintOfUnknown(kind: Kind | SchemaNode, path: IssuePath, key: string, known: readonly string[]): string {
  const near = known.length === 0 || nearest(key, known) !== undefined;
  return (near ? "" : meantHint(kind, path, key, known) || placeHint(kind, path, key)) || hintFor(key, known);
}

/** Fields of Gateway API, Istio and Envoy, and what they are called here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ...{ hostname: "hosts", hostnames: "hosts", host: "hosts", virtualhosts: "hosts", domains: "hosts", servernames: "hosts" },
  ...{ backendrefs: "backends", backendref: "backends", backend: "backends", destination: "backends", destinations: "backends" },
  ...{ clusters: "backends", services: "backends", parentrefs: "gateways", parents: "gateways", parentref: "gateways" },
  ...{ servers: "listeners", http: "rules", routes: "rules", match: "matches", filter: "filters", timeouts: "times" },
  ...{ certificaterefs: "certificates", uri: "path", pathprefix: "path", method: "methods", queryparams: "query" },
};

/** A name that other systems have for a field that is here, or above or below. */
function meantHint(kind: Kind | SchemaNode, path: IssuePath, key: string, known: readonly string[]): string {
  const lower = key.toLowerCase();
  const meant = Object.hasOwn(ELSEWHERE, lower) ? ELSEWHERE[lower] : undefined;
  // A field of that very name may stand elsewhere.
  if (meant === undefined || typeof kind !== "string" || placeHint(kind, path, key) !== "") return "";
  if (known.includes(meant)) return `here it is ${meant}`;
  const place = placeHint(kind, path, meant);
  return place === "" ? "" : `here it is ${meant}; ${place}`;
}

/** A field that is missing because its name has a typing error is one mistake: the name is told, what comes of it is not. */
function withoutConsequences(problems: readonly FieldProblem[], kind: Kind | SchemaNode): FieldProblem[] {
  const meant = problems.flatMap(({ code, path }) => {
    const parent = path.slice(0, -1);
    const fields = code === "unknown_key" ? fieldsAt(kind, parent) : [];
    const field = fields.length > HINTED_FIELDS ? undefined : nearest(String(path.at(-1)), fields);
    return field === undefined ? [] : [{ parent: JSON.stringify(parent), field, path: JSON.stringify([...parent, field]) }];
  });
  const wrongTypes = new Set(problems.flatMap(({ code, path }) => (code === "wrong_type" ? [JSON.stringify(path)] : [])));
  const isConsequence = ({ code, message, hint, path }: FieldProblem): boolean => {
    const place = JSON.stringify(path);
    // A text where a list belongs has no count of items.
    if (code === "out_of_range" && wrongTypes.has(place)) return true;
    if (code === "missing_field") return meant.some((each) => each.path === place);
    // Of the mapping itself: none of the fields is given (two of them are told at the second).
    if (code !== "choose_one") return false;
    return meant.some((each) => each.parent === place && `${message} ${hint}`.split(/\W+/).includes(each.field));
  };
  return problems.filter((problem) => !isConsequence(problem));
}

function describe(issue: ZodIssue, value: Json, kind: Kind | SchemaNode, prefix: IssuePath): FieldProblem[] {
  const path = [...prefix, ...issue.path.map((step) => (typeof step === "number" ? step : String(step)))];
  const one = (code: IssueCode, message: string, hint = ""): FieldProblem[] => [{ code, message, hint, path }];
  const found = valueAt(value, path);
  switch (issue.code) {
    case "unrecognized_keys": {
      const fields = fieldsAt(kind, path);
      const known = fields.length > HINTED_FIELDS ? [] : fields;
      return issue.keys.map((key) => ({
        code: "unknown_key",
        message: `There is no field ${JSON.stringify(key)} here.`,
        hint: hintOfUnknown(kind, path, key, known),
        path: [...path, key],
      }));
    }
    case "invalid_type":
      return found === undefined
        ? one("missing_field", `${String(path.at(-1))} is missing.`)
        : one(
            "wrong_type",
            `Expected ${typeName(issue.expected)}, found ${describeValue(found)}.`,
            typeHint(issue.expected, found, titleAt(kind, path)) || fieldsHint(issue.expected, fieldsAt(kind, path)),
          );
    case "invalid_value": {
      const values = issue.values.map(String);
      if (found === undefined) return one("missing_field", `${String(path.at(-1))} is missing.`, `one of ${values.join(", ")}`);
      const near = typeof found === "string" || typeof found === "boolean" ? nearestValue(String(found), values) : undefined;
      return one(
        "unknown_value",
        `${JSON.stringify(found)} is not one of ${values.join(", ")}.`,
        near === undefined ? "" : `did you mean ${near}?`,
      );
    }
    case "too_small":
      return one("out_of_range", `Expected at least ${issue.minimum}${unitOf(issue.origin, issue.minimum)}.`);
    case "too_big":
      return one("out_of_range", `Expected at most ${issue.maximum}${unitOf(issue.origin, issue.maximum)}.`);
    case "invalid_union": {
      const fitting = fittingErrors(issue);
      if (fitting !== undefined) return fitting.flatMap((each) => describe(each, value, kind, path));
      return one("wrong_type", `${describeValue(found)} cannot be used here.`);
    }
    case "custom": {
      const params = issue.params as { code?: IssueCode; hint?: string } | undefined;
      return one(params?.code ?? "wrong_type", issue.message, params?.hint ?? "");
    }
    default:
      return one("wrong_type", `${issue.message}.`);
  }
}

/** Of a value that may be of several types: what the branch that its type fits says is wrong with it. */
export function fittingErrors(issue: z.core.$ZodIssueInvalidUnion): ZodIssue[] | undefined {
  return issue.errors.find((errors) => !errors.some((each) => each.code === "invalid_type" && each.path.length === 0));
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: "text",
  object: "a mapping",
  record: "a mapping",
  array: "a list",
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
};

const typeName = (expected: string): string => TYPE_NAMES[expected] ?? expected;

const unitOf = (origin: string, count: number | bigint): string => {
  const unit = origin === "array" ? " item" : origin === "string" ? " character" : "";
  return unit !== "" && Number(count) !== 1 ? `${unit}s` : unit;
};

function describeValue(value: Json | undefined): string {
  if (value === null || value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a mapping";
  return typeof value === "string" ? "text" : JSON.stringify(value);
}

function typeHint(expected: string, found: Json, title: string): string {
  if (found === null && expected !== "object") return "leave the key away for the default";
  if (found === null) return "indent what belongs to it further than the key";
  if (expected === "boolean" && typeof found === "string") {
    if (/^(yes|on|true)$/i.test(found)) return "write true";
    if (/^(no|off|false)$/i.test(found)) return "write false";
  }
  if (typeof found === "number" && title.startsWith("duration")) return `with its unit: ${found}s`;
  if (typeof found === "number" && title.startsWith("size")) return `with its unit: ${found}B`;
  if (expected === "string" && (typeof found === "number" || typeof found === "boolean")) return `quote it: "${found}"`;
  if ((expected === "int" || expected === "number") && typeof found === "string" && /^\d+$/.test(found))
    return "write it without quotes";
  return expected === "array" && !Array.isArray(found) ? "write it as a list: [ … ]" : "";
}

const fieldsHint = (expected: string, fields: readonly string[]): string =>
  expected === "object" && fields.length > 0 && fields.length <= 16 ? `with ${fields.join(", ")}` : "";

/** `it belongs into spec.rules[]`: a field that stands at the wrong depth. */
function placeHint(kind: Kind | SchemaNode, path: IssuePath, key: string): string {
  // Everything has a name.
  for (let up = key === "name" ? path.length : 1; up <= path.length; up++) {
    const parent = path.slice(0, path.length - up);
    if (typeof path[path.length - up] === "number" || !fieldsAt(kind, parent).includes(key)) continue;
    return `it belongs ${parent.length === 0 ? "beside spec, not into it" : `into ${stepsText(parent)}`}`;
  }
  for (const steps of childrenOf(kind, path)) {
    const isIn = fieldsAt(kind, [...path, ...steps]).includes(key);
    if (isIn) return `it belongs into ${stepsText([...path, ...steps])}`;
  }
  return "";
}

/** Mappings one and two levels below, nearer ones first; items of lists stand for the list. */
function childrenOf(kind: Kind | SchemaNode, path: IssuePath): IssuePath[] {
  const below = (at: IssuePath): IssuePath[] =>
    fieldsAt(kind, at).flatMap((field) =>
      [
        [...at, field],
        [...at, field, 0],
      ].filter((each) => fieldsAt(kind, each).length > 0),
    );
  const first = below(path);
  return [...first, ...first.flatMap(below)].map((each) => each.slice(path.length));
}

/** A path without positions, which are anybody's. */
const stepsText = (path: IssuePath): string =>
  path.map((step, i) => (typeof step === "number" ? "[]" : `${i === 0 ? "" : "."}${step}`)).join("");

/** The nearest, or the only one of which the text is a part, or that is a part of it. */
function nearestValue(text: string, values: readonly string[]): string | undefined {
  const lower = text.toLowerCase();
  const holding = values.filter((each) => {
    const value = each.toLowerCase();
    return (value.length > 1 && lower.includes(value)) || (lower.length > 1 && value.includes(lower));
  });
  return nearest(text, values) ?? (holding.length === 1 ? holding[0] : undefined);
}

/** The value at a path; undefined when there is none. */
export function valueAt(value: Json, path: IssuePath): Json | undefined {
  let at: Json | undefined = value;
  for (const step of path) {
    if (typeof at !== "object" || at === null) return undefined;
    if (Array.isArray(at)) at = typeof step === "number" ? (at as readonly Json[])[step] : undefined;
    else at = Object.hasOwn(at, step) ? (at as { readonly [key: string]: Json })[step] : undefined;
  }
  return at;
}

/** What is read of JSON Schema. */
export interface SchemaNode {
  readonly title?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
  readonly anyOf?: readonly SchemaNode[];
  readonly allOf?: readonly SchemaNode[];
}

const schemas = new Map<Kind, SchemaNode>();

/** Names of the fields that may stand at a path of a kind. */
export function fieldsAt(kind: Kind | SchemaNode, path: IssuePath): string[] {
  return schemasAt(kind, path).flatMap((node) => Object.keys(node.properties ?? {}));
}

/** What the type at a path is called. */
function titleAt(kind: Kind | SchemaNode, path: IssuePath): string {
  return schemasAt(kind, path).find((node) => node.title !== undefined)?.title ?? "";
}

function schemasAt(kind: Kind | SchemaNode, path: IssuePath): SchemaNode[] {
  let nodes = [typeof kind === "string" ? schemaOf(kind) : kind];
  for (const step of path) {
    nodes = nodes.flatMap(alternatives).flatMap((node) => {
      const next = typeof step === "number" ? node.items : node.properties?.[step];
      return next === undefined ? [] : [next];
    });
  }
  return nodes.flatMap(alternatives);
}

function schemaOf(kind: Kind): SchemaNode {
  let schema = schemas.get(kind);
  if (schema === undefined) {
    schema = jsonSchema(kind, false) as SchemaNode;
    schemas.set(kind, schema);
  }
  return schema;
}

const alternatives = (node: SchemaNode): SchemaNode[] => [
  node,
  ...(node.anyOf ?? []).flatMap(alternatives),
  ...(node.allOf ?? []).flatMap(alternatives),
];
