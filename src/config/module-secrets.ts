import { metadataOf } from "./module-summary.ts";
import { SecretSettings } from "./secret-settings.ts";

/** What of its settings a module calls secret. Metadata that cannot be read may call all of it so. */
export function secretsOfModule(wasm: Uint8Array): SecretSettings {
  try {
    const { settings } = metadataOf(wasm);
    return settings === undefined ? SecretSettings.NONE : SecretSettings.ofSchema(settings);
  } catch {
    return SecretSettings.ALL;
  }
}
