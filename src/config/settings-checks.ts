import type { Json } from "./parse.ts";

/** What of a JSON Schema leads from one check to more. */
interface Schema {
  readonly enum?: unknown;
  readonly anyOf?: readonly Part[];
  readonly oneOf?: readonly Part[];
  readonly allOf?: readonly Part[];
  readonly items?: Part;
  readonly properties?: Readonly<Record<string, Part>>;
  readonly additionalProperties?: Part;
}
/** The same, where it may be one that fits everything or nothing. */
type Part = Schema | boolean;

/**
 * Does holding a value against a schema take no more than so many checks, of one value against one part of the schema each? A few
 * alternatives for each of many values are both short and make millions, and each that fails is an issue in memory.
 */
export function takesAtMost(most: number, schema: unknown, value: Json): boolean {
  return leftAfter(most, schema as Part, value) >= 0;
}

/** What is left of `left`; negative: more than that. */
function leftAfter(left: number, schema: Part | undefined, value: Json): number {
  if (left < 0 || typeof schema !== "object") return left - 1;
  let rest = left - 1 - optionsIn(schema.enum);
  for (const parts of [schema.anyOf, schema.oneOf, schema.allOf])
    for (const part of parts ?? []) {
      rest = leftAfter(rest, part, value);
      if (rest < 0) return rest;
    }
  if (Array.isArray(value)) return leftAfterItems(rest, schema.items, value);
  return typeof value === "object" && value !== null ? leftAfterFields(rest, schema, value) : rest;
}

/** Texts alone are looked up at once. */
const optionsIn = (options: unknown): number =>
  Array.isArray(options) && options.some((each) => typeof each !== "string") ? options.length : 0;

function leftAfterItems(left: number, items: Part | undefined, values: readonly Json[]): number {
  let rest = left;
  for (const each of values) {
    if (rest < 0) break;
    rest = leftAfter(rest, items, each);
  }
  return rest;
}

function leftAfterFields(left: number, { properties = {}, additionalProperties }: Schema, value: Json): number {
  let rest = left - Object.keys(properties).length;
  for (const [name, each] of Object.entries(value as Readonly<Record<string, Json>>)) {
    if (rest < 0) break;
    rest = leftAfter(rest, Object.hasOwn(properties, name) ? properties[name] : additionalProperties, each);
  }
  return rest;
}
