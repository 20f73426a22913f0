import { z } from "zod";
import { isSameData } from "../core/equal.ts";
import { CONFIG_LIMITS, CONTROL_LIMITS } from "../core/limits.ts";
import { describeZodIssues, type FieldProblem, firstIssues, type SchemaNode, valueAt } from "./field-issues.ts";
import { metadataOf } from "./module-summary.ts";
import type { Json } from "./parse.ts";
import { SecretSettings } from "./secret-settings.ts";
import { redactSettings, settingsValue } from "./secret-values.ts";
import { takesAtMost } from "./settings-checks.ts";

/**
 * Keywords of JSON Schema that are looked at. What is left out is left to the filter itself: a pattern of a stranger could keep
 * this process busy for ever, and a reference could lead anywhere.
 */
const KEYWORDS = new Set([
  ...["type", "enum", "const", "title", "description", "default"],
  ...["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
  ...["items", "minItems", "maxItems", "minLength", "maxLength"],
  ...["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "anyOf", "oneOf", "allOf"],
]);
const DEPTH_MAX = 16;

/** What of a filter's settings does not fit the JSON Schema in its module's metadata. No schema, one that cannot be read, or too much to check: nothing. */
export function checkSettings(wasm: Uint8Array, settings: string): FieldProblem[] {
  try {
    const metadata = metadataOf(wasm);
    if (metadata.settings === undefined) return [];
    const schema = plainSchema(metadata.settings, 0);
    const value = settingsValue(settings);
    if (!takesAtMost(CONTROL_LIMITS.settingsChecks, schema, value)) return [];
    const checked = z.fromJSONSchema(schema).safeParse(value);
    if (checked.success) return [];
    const shown = redactSettings(value, SecretSettings.ofSchema(metadata.settings));
    const { issues } = firstIssues(checked.error.issues, CONFIG_LIMITS.issues);
    return describeZodIssues(issues, value, schema as SchemaNode).map((problem) => withoutSecret(problem, value, shown));
  } catch {
    // The schema is the author's; a bad one must not keep a good filter out. `filter build` refuses it.
    return [];
  }
}

/** What is said of a secret, or of what holds one, does not quote it. */
function withoutSecret(problem: FieldProblem, value: Json, shown: Json): FieldProblem {
  const quotes = problem.code === "wrong_type" || problem.code === "unknown_value";
  if (!quotes || isSameData(valueAt(value, problem.path), valueAt(shown, problem.path))) return problem;
  return { ...problem, message: "The secret here is not what the module's schema wants.", hint: "" };
}

/** Why a schema cannot be used; undefined: it can. */
export function refuseSchema(schema: unknown): string | undefined {
  try {
    z.fromJSONSchema(plainSchema(schema, 0));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

type Schema = Parameters<typeof z.fromJSONSchema>[0];

/** The same with the known keywords only. */
function plainSchema(schema: unknown, depth: number): Schema {
  if (typeof schema === "boolean") return schema;
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) throw new Error("a schema is a mapping");
  if (depth > DEPTH_MAX) throw new Error("schemas are nested too deep");
  const plain: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(schema)) if (KEYWORDS.has(key)) plain[key] = plainKeyword(key, value, depth + 1);
  return plain as Schema;
}

function plainKeyword(key: string, value: unknown, depth: number): unknown {
  if (key === "items" || key === "additionalProperties") return plainSchema(value, depth);
  if (key === "anyOf" || key === "oneOf" || key === "allOf") return (value as unknown[]).map((each) => plainSchema(each, depth));
  if (key !== "properties") return value;
  const properties = Object.entries(value as Record<string, unknown>);
  return Object.fromEntries(properties.map(([name, each]) => [name, plainSchema(each, depth)]));
}
