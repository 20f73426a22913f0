import { CONFIG_LIMITS, OCI_LIMITS } from "../../core/limits.ts";
import { sha256Digest } from "../canonical.ts";
import { detectAbi } from "../module-abi.ts";
import { formatSize } from "../schema/units.ts";
import { findModule } from "./archive.ts";
import { RegistryError } from "./failure.ts";
import { type Descriptor, MEDIA_TYPES, type ModulePlace, readManifest } from "./manifest.ts";
import { isDigest, type OciReference } from "./reference.ts";
import { type RegistrySession, statusError } from "./session.ts";

/** A module as a registry had it. */
export interface PulledModule {
  readonly bytes: Uint8Array;
  /** Of the module itself: what proxies know it by. */
  readonly digest: string;
  /** Of what the reference stands for now: the manifest, or the index. */
  readonly manifestDigest: string;
}

/** Bytes of a module that is there already, by its digest; undefined: it has to be fetched. */
export type KnownModule = (digest: string) => Promise<Uint8Array | undefined>;

/** Says that so many bytes will be held. Throws a `RegistryError` when they may not be. */
export type HoldBytes = (bytes: number) => void;

/**
 * Resolves the reference, takes the module, and verifies every digest on the way. A module that is known by its digest is not
 * fetched again. Rejects with a `RegistryError`.
 */
export async function pullModule(
  session: RegistrySession,
  known: KnownModule = async () => undefined,
  hold: HoldBytes = () => {},
): Promise<PulledModule> {
  const named = await fetchManifest(session, session.reference.version);
  let read = readManifest(named.bytes);
  if (read.kind === "index") read = readManifest((await fetchManifest(session, read.chosen.digest)).bytes);
  if (read.kind === "index") throw new RegistryError("bad_artifact", "its index leads to an index");
  const bytes = await fetchModule(session, read.place, known, hold);
  if (detectAbi(bytes) === undefined) throw new RegistryError("bad_artifact", "what it has is no WebAssembly module");
  return { bytes, digest: sha256Digest(bytes), manifestDigest: named.digest };
}

const ACCEPTED = [MEDIA_TYPES.manifest, MEDIA_TYPES.index, MEDIA_TYPES.dockerManifest, MEDIA_TYPES.dockerIndex].join(", ");

async function fetchManifest(session: RegistrySession, version: string): Promise<{ bytes: Uint8Array; digest: string }> {
  const { reference, base } = session;
  const headers = { accept: ACCEPTED };
  const answer = await session.ask({ method: "GET", to: `manifests/${version}`, headers, maxBytes: OCI_LIMITS.manifestBytes });
  if (answer.status === 404) throw notFound(reference, version);
  if (answer.status !== 200) throw statusError(base.host, answer.status);
  const digest = sha256Digest(answer.body);
  const claimed = answer.headers["docker-content-digest"];
  const wanted = isDigest(version) ? version : typeof claimed === "string" && isDigest(claimed) ? claimed : digest;
  if (wanted !== digest) throw altered(`the manifest ${version}`, digest, wanted);
  return { bytes: answer.body, digest };
}

const notFound = ({ registry, repository }: OciReference, version: string): RegistryError =>
  new RegistryError(
    "artifact_not_found",
    `${registry} has no ${repository} ${version}`,
    "is it pushed, and are credentials needed?",
  );

async function fetchModule(
  session: RegistrySession,
  place: ModulePlace,
  known: KnownModule,
  hold: HoldBytes,
): Promise<Uint8Array> {
  if (place.kind === "module") return (await known(place.layer.digest)) ?? fetchLayer(session, place.layer, hold);
  for (const layer of place.layers) {
    const found = await findModule(await fetchLayer(session, layer, hold), layer.form);
    if (found === "removed") break;
    if (found === undefined) continue;
    hold(found.byteLength);
    return found;
  }
  throw new RegistryError("bad_artifact", "its layers hold no plugin.wasm", "a container image has its module under that name");
}

async function fetchLayer(session: RegistrySession, { digest, size }: Descriptor, hold: HoldBytes): Promise<Uint8Array> {
  if (size > CONFIG_LIMITS.moduleBytes)
    throw new RegistryError("artifact_too_large", `its layer is larger than ${formatSize(CONFIG_LIMITS.moduleBytes)}`);
  hold(size);
  const answer = await session.ask({ method: "GET", to: `blobs/${digest}`, maxBytes: size });
  if (answer.status === 404) throw notFound(session.reference, digest);
  if (answer.status !== 200) throw statusError(session.base.host, answer.status);
  if (answer.body.byteLength !== size)
    throw new RegistryError(
      "artifact_altered",
      `the layer ${digest} has ${answer.body.byteLength} bytes, not the ${size} of its manifest`,
    );
  const actual = sha256Digest(answer.body);
  if (actual !== digest) throw altered(`the layer ${digest}`, actual, digest);
  return answer.body;
}

const altered = (what: string, actual: string, wanted: string): RegistryError =>
  new RegistryError(
    "artifact_altered",
    `${what} has the digest ${actual}, not ${wanted}`,
    "somebody altered it, or the registry is broken",
  );
