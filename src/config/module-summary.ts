import { utf8Text } from "../core/bytes.ts";
import { parseShallowJson } from "../core/json-text.ts";
import { sha256Digest } from "./canonical.ts";
import { detectAbi } from "./module-abi.ts";
import { type BadSignature, badSignaturesOf, signersOf } from "./module-signature.ts";
import { findCustomSection } from "./wasm-sections.ts";

/** Name of the custom section that holds a filter's metadata (docs/filters.md) as JSON. */
export const METADATA_SECTION = "selvedge.filter";

/** Longer metadata is not looked at: reading it takes time of processes that serve others. */
export const METADATA_BYTES = 64 * 1024;

/** A stored module as people are shown it. */
export interface ModuleSummary {
  /** `sha256:` and hex. */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly abi: string;
  /** Of the module's metadata; "" when it has none. What a module says of itself: anybody can write it. */
  readonly name: string;
  readonly version: string;
  /** Keys whose signature is genuine, `ed25519:…`. */
  readonly signers: readonly string[];
  /** Signatures that it carries and that do not verify. Absent: a control plane of a former version does not say it. */
  readonly badSignatures?: readonly BadSignature[];
}

const TEXT_CHARS = 100;

/** Takes time in proportion to the module's size: keep what it answers. */
export function summariseModule(bytes: Uint8Array): ModuleSummary {
  const metadata = metadataToShow(bytes);
  const text = (key: string): string => {
    const value = metadata[key];
    return typeof value === "string" ? value.slice(0, TEXT_CHARS) : "";
  };
  return {
    ...{ digest: sha256Digest(bytes), sizeBytes: bytes.byteLength, abi: detectAbi(bytes) ?? "unknown" },
    ...{ name: text("name"), version: text("version"), signers: signersOf(bytes) },
    badSignatures: badSignaturesOf(bytes),
  };
}

export type ModuleMetadata = Readonly<Record<string, unknown>>;

/** What a module says of itself; empty: nothing. Throws an `Error` when it says something that cannot be read. */
export function metadataOf(wasm: Uint8Array): ModuleMetadata {
  const section = findCustomSection(wasm, METADATA_SECTION);
  if (section === undefined) return {};
  if (section.byteLength > METADATA_BYTES) throw new Error(`the metadata has more than ${METADATA_BYTES} bytes`);
  const value = parseShallowJson(utf8Text(section));
  return typeof value === "object" && value !== null ? (value as ModuleMetadata) : {};
}

function metadataToShow(wasm: Uint8Array): ModuleMetadata {
  try {
    return metadataOf(wasm);
  } catch {
    return {};
  }
}
