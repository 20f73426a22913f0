import { utf8TextStrict } from "../../core/bytes.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { OCI_LIMITS } from "../../core/limits.ts";
import type { ArchiveForm } from "./archive.ts";
import { RegistryError } from "./failure.ts";
import { isDigest } from "./reference.ts";

export const MEDIA_TYPES = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  /** Wasm artifacts as the CNCF and the Bytecode Alliance publish them; what `filter push` writes. */
  config: "application/vnd.wasm.config.v0+json",
  wasm: "application/wasm",
} as const;

/** Layers that are a module as it is: the present form, that of Solo and Istio, that of wasm-to-oci and Kubewarden. */
const MODULES = new Set<string>([
  MEDIA_TYPES.wasm,
  "application/vnd.module.wasm.content.layer.v1+wasm",
  "application/vnd.wasm.content.layer.v1+wasm",
]);
/** RFC 6838 §4.2, and short enough to be shown. */
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,79}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,79}$/;
/** Layers of container images, in which `plugin.wasm` lies (the "compat" variant of the Wasm image specification). */
const ARCHIVES: ReadonlyMap<string, ArchiveForm> = new Map([
  ["application/vnd.oci.image.layer.v1.tar", "tar"],
  ["application/vnd.oci.image.layer.v1.tar+gzip", "tar+gzip"],
  ["application/vnd.oci.image.layer.v1.tar+zstd", "tar+zstd"],
  ["application/vnd.docker.image.rootfs.diff.tar.gzip", "tar+gzip"],
]);

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** Where a module is. Archives: the one to look into first is the first. */
export type ModulePlace =
  | { readonly kind: "module"; readonly layer: Descriptor }
  | { readonly kind: "archives"; readonly layers: readonly (Descriptor & { readonly form: ArchiveForm })[] };

/** What a registry answered for a name: a manifest, or an index of several. */
export type ReadManifest =
  | { readonly kind: "manifest"; readonly place: ModulePlace }
  | { readonly kind: "index"; readonly chosen: Descriptor };

/** Throws a `RegistryError`. */
export function readManifest(bytes: Uint8Array): ReadManifest {
  const content = readJson(bytes);
  // A document that could be read as either is a trap (CVE-2021-41190).
  if ("manifests" in content === "layers" in content) throw bad("its manifest has neither layers nor manifests, or both");
  return "layers" in content
    ? { kind: "manifest", place: placeOf(readDescriptors(content.layers)) }
    : { kind: "index", chosen: chooseManifest(content.manifests) };
}

function readJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    const content: unknown = parseShallowJson(utf8TextStrict(bytes));
    if (typeof content === "object" && content !== null && "schemaVersion" in content && content.schemaVersion === 2)
      return content as Readonly<Record<string, unknown>>;
  } catch {
    // Said below.
  }
  throw bad("its manifest is no JSON of schema version 2");
}

function readDescriptors(value: unknown): (Descriptor & { readonly platform?: unknown })[] {
  if (!Array.isArray(value) || value.length > OCI_LIMITS.entries)
    throw bad(`its manifest has no list of at most ${OCI_LIMITS.entries} entries`);
  return value.map((each: unknown) => {
    const { mediaType, digest, size, platform } = Object(each) as Partial<Descriptor> & { platform?: unknown };
    const isGood = typeof mediaType === "string" && typeof digest === "string" && Number.isSafeInteger(size) && Number(size) >= 0;
    if (!isGood || !isDigest(digest)) throw bad("its manifest names something without media type, sha256 digest and size");
    return { mediaType, digest, size: Number(size), platform };
  });
}

function placeOf(layers: readonly Descriptor[]): ModulePlace {
  const modules = layers.filter((each) => MODULES.has(each.mediaType));
  const [layer] = modules;
  if (modules.length > 1) throw bad(`it has ${modules.length} modules, and nothing says which`);
  if (layer !== undefined) return { kind: "module", layer };
  const archives = layers.flatMap((each) => {
    const form = ARCHIVES.get(each.mediaType);
    return form === undefined ? [] : [{ ...each, form }];
  });
  if (archives.length > 0) return { kind: "archives", layers: archives.reverse().slice(0, OCI_LIMITS.layersRead) };
  // A registry's own words go into messages, and so to terminals, only when they are what they should be.
  const known = layers.map(({ mediaType }) => (MEDIA_TYPE.test(mediaType) ? mediaType : "something that is no media type"));
  const types = [...new Set(known)].slice(0, 4).join(", ");
  throw bad(`it has no layer of a media type that is read here: ${types === "" ? "it has none" : types}`, FORMS);
}

const FORMS = `${MEDIA_TYPES.wasm}, or an image layer with plugin.wasm in it; selvedge filter push --oci writes the first`;

/** The one for WebAssembly; else what Docker builds when nobody says for what; else the only one. */
function chooseManifest(value: unknown): Descriptor {
  const readable = new Set<string>([MEDIA_TYPES.manifest, MEDIA_TYPES.dockerManifest]);
  const all = readDescriptors(value).filter(
    (each) => readable.has(each.mediaType) && platformOf(each.platform) !== "unknown/unknown",
  );
  const chosen =
    all.find((each) => /\/wasm(?:32)?$/.test(platformOf(each.platform))) ??
    all.find((each) => platformOf(each.platform) === "linux/amd64") ??
    (all.length === 1 ? all[0] : undefined);
  if (chosen === undefined) throw bad(`it is an index of ${all.length} manifests, and none is for wasm`);
  return chosen;
}

function platformOf(platform: unknown): string {
  const { os, architecture } = Object(platform) as { readonly os?: unknown; readonly architecture?: unknown };
  return `${textOf(os)}/${textOf(architecture)}`;
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

const bad = (message: string, hint = ""): RegistryError => new RegistryError("bad_artifact", message, hint);
