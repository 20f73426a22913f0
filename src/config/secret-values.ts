import { isSameData } from "../core/equal.ts";
import { parseShallowJson } from "../core/json-text.ts";
import { CONFIG_LIMITS } from "../core/limits.ts";
import type { Json } from "./parse.ts";
import { placeOf } from "./secret-settings.ts";

export const REDACTED = "[redacted]";
export const REDACTED_OTHER = "[redacted, changed]";

/** What somebody knows of a value besides its name: a schema (`SecretSettings`), or places (`SecretPlaces`). */
export interface KnownSecrets {
  /** The value itself, with all that is in it. */
  readonly isSecret: boolean;
  /** What is known of a field or an item of it. */
  at(name: string | number): KnownSecrets;
}

/** Values at JSON pointers (RFC 6901) are secret. */
export class SecretPlaces implements KnownSecrets {
  readonly isSecret: boolean;

  constructor(
    readonly places: ReadonlySet<string>,
    readonly place = "",
  ) {
    this.isSecret = places.has(place);
  }

  at(name: string | number): KnownSecrets {
    return this.places.size === 0 ? this : new SecretPlaces(this.places, placeOf(this.place, name));
  }
}

/** Names that sound like a secret: texts under one are hidden, in lists and mappings too. */
const SOUNDING = /key|secret|token|passw|passphrase|pwd|credential|hash|authorization|bearer|salt|private/i;
/** Of these a number is a secret as well; `tokens: 5` and `keyBits: 256` are none. */
const SOUNDING_NUMBER = /secret|passw|passphrase|pwd|credential|(?:key|token|hash)$/i;
/** Fields of a record of secrets that say what it is, and end what its name sounded like. */
const TELLING = new Set([
  "id",
  "name",
  "header",
  "query",
  "kid",
  "alg",
  "algorithm",
  "kty",
  "use",
  "type",
  "in",
  "issuer",
  "mode",
]);
/** Fields that hold what the `name` beside them names: `{ name: authorization, value: … }`. */
const HOLDING = new Set(["value", "values", "exact", "prefix", "suffix", "contains", "regex", "default"]);
/** What a `key` says when it says by what something is counted: as in `rate-limit`. */
const KEY_PART = /^(?:clientIp|route|principal|path|method|host|constant|(?:header|claim|constant):.+)$/;

/** Puts something else in a secret's place. `former`: what stood there before. */
type Hide = (secret: Json, former: Json | undefined) => Json;

/** The nearest name above that sounds like a secret. */
interface Sound {
  readonly name: string;
  /** Of a list under that name: mappings in it are records, whose fields have names of their own. */
  readonly isItem?: boolean;
}

/** The one rule for what of filter settings is secret: what is known of it, or what its name sounds like. When in doubt it is. */
function walk(value: Json, known: KnownSecrets, former: Json | undefined, sound: Sound | undefined, hide: Hide): Json {
  if (known.isSecret || isSoundingSecret(value, sound)) return hide(value, former);
  if (typeof value !== "object" || value === null) return value;
  const isByName =
    sound !== undefined && sound.isItem !== true && Object.values(value).every((child) => typeof child === "string");
  const told = "name" in value && typeof value.name === "string" ? soundOf(value.name) : undefined;
  const soundOfChild = (name: string | number): Sound | undefined => {
    if (typeof name === "number") return sound && { ...sound, isItem: true };
    if (told !== undefined && HOLDING.has(name)) return told;
    // Texts by name (`keys: { id: … }`) may have any name.
    return !isByName && TELLING.has(name) ? undefined : (soundOf(name) ?? sound);
  };
  return mapChildren(value, (child, name) => walk(child, known.at(name), childOf(former, name), soundOfChild(name), hide));
}

const soundOf = (name: string): Sound | undefined => (SOUNDING.test(name) ? { name } : undefined);

function isSoundingSecret(value: Json, sound: Sound | undefined): boolean {
  if (sound === undefined) return false;
  if (typeof value === "string") return sound.name !== "key" || !KEY_PART.test(value);
  return typeof value === "number" && SOUNDING_NUMBER.test(sound.name);
}

/** Filter settings as people may see them. `former`: what they were; a secret that is another now says so. */
export function redactSettings(settings: Json, known: KnownSecrets, former?: Json): Json {
  return walk(settings, known, former, undefined, hidden);
}

/** All texts and numbers that are hidden in filter settings, as text, the longest first: those that can be told from other words. */
export function secretTexts(settings: Json, known: KnownSecrets): string[] {
  const found = new Set<string>();
  const collect: Hide = (secret) => {
    if (typeof secret === "object" && secret !== null) mapChildren(secret, (child) => collect(child, undefined));
    else if (typeof secret === "string" || typeof secret === "number") found.add(String(secret));
    return null;
  };
  walk(settings, known, undefined, undefined, collect);
  // As JSON has it, if that is something else.
  for (const text of [...found]) found.add(JSON.stringify(text).slice(1, -1));
  return [...found].filter(({ length }) => length >= CONFIG_LIMITS.secretChars).sort((a, b) => b.length - a.length);
}

/** Settings of a filter's configuration as a value. What is no JSON is a text, which its filter gets as it is. */
export function settingsValue(settings: string): Json {
  try {
    return parseShallowJson(settings) as Json;
  } catch {
    return settings;
  }
}

export function mapChildren(value: object, change: (child: Json, name: string | number) => Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(change);
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, change(child as Json, name)]));
}

export const hidden: Hide = (secret, former) => (former === undefined || isSameData(former, secret) ? REDACTED : REDACTED_OTHER);

export function childOf(parent: Json | undefined, name: string | number): Json | undefined {
  return typeof parent === "object" && parent !== null ? (parent as Readonly<Record<string, Json>>)[name] : undefined;
}
