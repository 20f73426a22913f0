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
