import { METADATA_BYTES, METADATA_SECTION } from "./module-summary.ts";
import { SecretSettings } from "./secret-settings.ts";
import { findCustomSection } from "./wasm-sections.ts";

/** What of its settings a module calls secret. Metadata that cannot be read may call all of it so. */
export function secretsOfModule(wasm: Uint8Array): SecretSettings {
  const section = findCustomSection(wasm, METADATA_SECTION);
  if (section === undefined) return SecretSettings.NONE;
  if (section.byteLength > METADATA_BYTES) return SecretSettings.ALL;
  try {
    const metadata = JSON.parse(Buffer.from(section).toString("utf8")) as { readonly settings?: unknown } | null;
    return metadata?.settings === undefined ? SecretSettings.NONE : SecretSettings.ofSchema(metadata.settings);
  } catch {
    return SecretSettings.ALL;
  }
}
