import { type Bytes, utf8Bytes } from "../../core/bytes.ts";

/** The key under which a plug-in finds all of its settings as one JSON text. */
export const ALL_SETTINGS = "selvedge.settings";

/**
 * What `config_get` answers: Extism's configuration is strings by name. Each member of the settings is one; what is no string
 * is its JSON text. The whole stands under `selvedge.settings`.
 */
export function configOf(settings: string): ReadonlyMap<string, Bytes> {
  const config = new Map<string, Bytes>();
  const parsed: unknown = settings === "" ? {} : JSON.parse(settings);
  if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) {
    for (const [name, value] of Object.entries(parsed))
      config.set(name, utf8Bytes(typeof value === "string" ? value : JSON.stringify(value)));
  }
  config.set(ALL_SETTINGS, utf8Bytes(settings));
  return config;
}

/** The key under which settings name functions for bodies (`Transforms`). */
export const TRANSFORM = "selvedge.transform";

/**
 * Functions of plug-ins that were made for other hosts: each gets a body as it is, and its output is the new one. Undefined: the
 * exports `on_request_body` and `on_response_body` have it, which answer JSON.
 */
export interface Transforms {
  readonly request: string | undefined;
  readonly response: string | undefined;
}

/** Throws an `Error` that says what is wrong: one that is misspelled must not let bodies pass. */
export function transformsOf(settings: string): Transforms {
  const parsed: unknown = settings === "" ? {} : JSON.parse(settings);
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  const named = isObject(parsed) ? parsed[TRANSFORM] : undefined;
  if (named === undefined) return { request: undefined, response: undefined };
  if (!isObject(named)) throw new Error(`${TRANSFORM} is no object`);
  for (const [direction, name] of Object.entries(named)) {
    if (direction !== "request" && direction !== "response")
      throw new Error(`${TRANSFORM} has an unknown member ${JSON.stringify(direction.slice(0, 64))}`);
    if (typeof name !== "string" || name === "") throw new Error(`${TRANSFORM}.${direction} is no name of a function`);
  }
  return { request: named.request as string | undefined, response: named.response as string | undefined };
}
