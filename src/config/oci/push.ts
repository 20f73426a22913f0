import { utf8Bytes } from "../../core/bytes.ts";
import { sha256Digest } from "../canonical.ts";
import { summariseModule } from "../module-summary.ts";
import { RegistryError } from "./failure.ts";
import { type Descriptor, MEDIA_TYPES } from "./manifest.ts";
import { isDigest } from "./reference.ts";
import { type RegistrySession, statusError } from "./session.ts";

/** What a registry holds now. */
export interface PushedModule {
  /** Of the module itself. */
  readonly digest: string;
  /** Of its manifest: `registry/repository@` and this stay what they are. */
  readonly manifestDigest: string;
}

/**
 * Writes a module as it is, as a Wasm OCI artifact, under the reference's tag. The same bytes give the same manifest, so pushing
 * twice changes nothing. Rejects with a `RegistryError`.
 */
export async function pushModule(session: RegistrySession, bytes: Uint8Array, fileName: string): Promise<PushedModule> {
  const { version } = session.reference;
  if (isDigest(version)) throw new RegistryError("bad_artifact", "a push is given a tag, not a digest");
  const layer = await pushBlob(session, bytes, MEDIA_TYPES.wasm);
  const config = await pushBlob(session, utf8Bytes(configOf(bytes, layer.digest)), MEDIA_TYPES.config);
  const manifest = utf8Bytes(manifestOf(bytes, config, layer, fileName));
  const headers = { "content-type": MEDIA_TYPES.manifest };
  const answer = await session.ask({ method: "PUT", to: `manifests/${version}`, headers, body: manifest });
  if (answer.status !== 201) throw statusError(session.base.host, answer.status);
  return { digest: layer.digest, manifestDigest: sha256Digest(manifest) };
}

async function pushBlob(session: RegistrySession, bytes: Uint8Array, mediaType: string): Promise<Descriptor> {
  const digest = sha256Digest(bytes);
  const descriptor = { mediaType, digest, size: bytes.byteLength };
  const known = await session.ask({ method: "HEAD", to: `blobs/${digest}` });
  if (known.status === 200) return descriptor;
  const begun = await session.ask({ method: "POST", to: "blobs/uploads/" });
  const { location } = begun.headers;
  if (begun.status !== 202 || location === undefined) throw statusError(session.base.host, begun.status);
  const to = session.resolve(location, session.base);
  to.searchParams.set("digest", digest);
  const headers = { "content-type": "application/octet-stream" };
  const answer = await session.ask({ method: "PUT", to, headers, body: bytes });
  if (answer.status !== 201) throw statusError(to.host, answer.status);
  return descriptor;
}

/** https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/ . Its time is always the same: what is pushed twice is the same. */
function configOf(bytes: Uint8Array, layerDigest: string): string {
  const isComponent = summariseModule(bytes).abi === "component";
  return JSON.stringify({
    created: "1970-01-01T00:00:00Z",
    architecture: "wasm",
    os: isComponent ? "wasip2" : "wasip1",
    layerDigests: [layerDigest],
    ...(isComponent ? { component: { exports: [], imports: [] } } : {}),
  });
}

/** What the module says of itself is shown by registries. */
function manifestOf(bytes: Uint8Array, config: Descriptor, layer: Descriptor, fileName: string): string {
  const { name, version } = summariseModule(bytes);
  const said = Object.entries({ "org.opencontainers.image.title": name, "org.opencontainers.image.version": version });
  const annotations = Object.fromEntries(said.filter(([, text]) => text !== ""));
  return JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config,
    layers: [{ ...layer, annotations: { "org.opencontainers.image.title": fileName } }],
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  });
}
