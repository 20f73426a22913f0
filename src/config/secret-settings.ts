import { CONTROL_LIMITS } from "../core/limits.ts";
import type { Json } from "./parse.ts";

/** Schemas that may hold for one value. More: nobody can say that it is no secret. */
const SCHEMAS_MAX = 256;
const SAME_PLACE = ["allOf", "anyOf", "oneOf", "if", "then", "else"];
/** Mappings of schemas that hold for the same value when it has a field. */
const DEPENDENT = ["dependentSchemas", "dependencies"];
/** What leads to another schema, but `$ref`: where to depends on the way that was taken. */
const DYNAMIC = ["$dynamicRef", "$recursiveRef"];
const ANY_FIELD = ["unevaluatedProperties", "additionalProperties"];
const ANY_ITEM = ["items", "additionalItems", "unevaluatedItems"];

/** The JSON pointer (RFC 6901) of what is in `place` under `name`. */
export const placeOf = (place: string, name: string | number): string =>
  `${place}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;

type Schema = Readonly<Record<string, unknown>>;

const isMapping = (value: unknown): value is Schema => typeof value === "object" && value !== null && !Array.isArray(value);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : value === undefined ? [] : [value]);

/**
 * What of a filter's settings is secret by the JSON Schema in its module's metadata: values with `writeOnly: true` or `format: password`. Every
 * schema that may hold for a value counts, whichever of them it fits. What cannot be followed is secret.
 */
export class SecretSettings {
  readonly #schemas = new Set<Schema>();
  #isUnclear = false;
  #isSecret: boolean | undefined;
  /** Of fields and items that the schemas name, and of all others: values are many, and what holds for them is little. */
  readonly #named = new Map<string | number, SecretSettings>();
  #namedKeys: ReadonlySet<string | number> | undefined;
  #otherField: SecretSettings | undefined;
  #otherItem: SecretSettings | undefined;

  private constructor(
    readonly root: unknown,
    places: Iterable<unknown>,
    readonly steps: { left: number } = { left: CONTROL_LIMITS.secretSteps },
  ) {
    const waiting = [...places];
    while (waiting.length > 0 && !this.#isUnclear) {
      const next = waiting.pop();
      if (!isMapping(next) || this.#schemas.has(next)) continue;
      this.#schemas.add(next);
      for (const key of SAME_PLACE) waiting.push(...listOf(next[key]));
      for (const key of DEPENDENT) if (isMapping(next[key])) waiting.push(...Object.values(next[key]));
      if (next.$ref !== undefined) waiting.push(this.#follow(next.$ref));
      // Below another `$id` references begin elsewhere.
      this.#isUnclear ||= DYNAMIC.some((key) => next[key] !== undefined) || (next !== root && next.$id !== undefined);
      this.#isUnclear ||= this.#schemas.size > SCHEMAS_MAX || --steps.left < 0;
    }
  }

  /** Nothing but what is recognised by its name. */
  static readonly NONE = new SecretSettings({}, []);
  /** All of it: the module that could tell is not there. */
  static readonly ALL = new SecretSettings({}, [{ writeOnly: true }]);

  static ofSchema(schema: unknown): SecretSettings {
    return new SecretSettings(schema, [schema]);
  }

  /** Is the value itself secret, with all that is in it? */
  get isSecret(): boolean {
    this.#isSecret ??= this.#isUnclear || this.#saysSecret();
    return this.#isSecret;
  }

  #saysSecret(): boolean {
    for (const { writeOnly, format } of this.#schemas) if (writeOnly === true || format === "password") return true;
    return false;
  }

  /** What holds for a field or an item of it. */
  at(key: string | number): SecretSettings {
    if (this.#schemas.size === 0) return this;
    this.#namedKeys ??= namedKeys(this.#schemas);
    if (this.#namedKeys.has(key)) {
      const found = this.#named.get(key) ?? this.#below(key);
      this.#named.set(key, found);
      return found;
    }
    if (typeof key === "number") {
      this.#otherItem ??= this.#below(key);
      return this.#otherItem;
    }
    this.#otherField ??= this.#below(key);
    return this.#otherField;
  }

  #below(key: string | number): SecretSettings {
    const places = [...this.#schemas].flatMap((schema) => (typeof key === "number" ? itemOf(schema, key) : fieldOf(schema, key)));
    return places.length === 0 ? SecretSettings.NONE : new SecretSettings(this.root, places, this.steps);
  }

  /** JSON pointers (RFC 6901) of all secret values. */
  pointersIn(value: Json, place = ""): string[] {
    if (this.#schemas.size === 0) return [];
    if (this.isSecret) return [place];
    if (typeof value !== "object" || value === null) return [];
    const isList = Array.isArray(value);
    return Object.entries(value).flatMap(([name, child]) =>
      this.at(isList ? Number(name) : name).pointersIn(child, placeOf(place, name)),
    );
  }

  /** A place in the same schema (`#/$defs/key`); where another one is meant, it is not known what holds there. */
  #follow(reference: unknown): unknown {
    const steps = typeof reference === "string" && /^#(\/|$)/.test(reference) ? reference.split("/").slice(1) : undefined;
    let found: unknown = steps === undefined ? undefined : this.root;
    for (const step of steps ?? []) {
      const key = step.replaceAll("~1", "/").replaceAll("~0", "~");
      found = typeof found === "object" && found !== null && Object.hasOwn(found, key) ? (found as Schema)[key] : undefined;
    }
    if (found === undefined) this.#isUnclear = true;
    return found;
  }
}

/** Fields and items for which some schema says more than for all others. */
function namedKeys(schemas: Iterable<Schema>): ReadonlySet<string | number> {
  const keys = new Set<string | number>();
  for (const { properties, prefixItems, items } of schemas) {
    if (isMapping(properties)) for (const name of Object.keys(properties)) keys.add(name);
    for (const each of [prefixItems, items]) if (Array.isArray(each)) for (const index of each.keys()) keys.add(index);
  }
  return keys;
}

function fieldOf(schema: Schema, name: string): unknown[] {
  const { properties, patternProperties } = schema;
  // A pattern of a stranger is not run: it may hold for every name.
  const patterns = isMapping(patternProperties) ? Object.values(patternProperties) : [];
  if (isMapping(properties) && Object.hasOwn(properties, name)) return [properties[name], ...patterns];
  return [...patterns, ...ANY_FIELD.map((key) => schema[key])];
}

function itemOf(schema: Schema, index: number): unknown[] {
  const { prefixItems, items } = schema;
  const own = [prefixItems, items].flatMap((each) => (Array.isArray(each) && index < each.length ? [each[index]] : []));
  const isPlaced = Array.isArray(items) && index < items.length;
  return [...own, schema.contains, ...(isPlaced ? [] : ANY_ITEM.map((key) => schema[key]))];
}
