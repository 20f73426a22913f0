import { Refusal } from "../schema/text.ts";

/** An artifact in a registry (OCI distribution specification). */
export interface OciReference {
  /** Without `oci://`: how it is shown. */
  readonly text: string;
  /** Host in lower case, and port when one is written. */
  readonly registry: string;
  /** `acme/filters/geo`. */
  readonly repository: string;
  /** `sha256:…` of a manifest when one is written, else a tag. */
  readonly version: string;
}

const REGISTRY = /^(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[1-9]\d{0,4})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const REPOSITORY_CHARS = 255;
const REFERENCE_CHARS = 600;

/** Is it a digest of the only kind that is read? */
export const isDigest = (text: string): boolean => /^sha256:[0-9a-f]{64}$/.test(text);

/** `[oci://]registry/repository:tag`, `…@sha256:hex`, or both, of which the digest counts. The registry is always written. */
export function readOciReference(text: string): OciReference | Refusal {
  const bad = (why: string, hint = FORM): Refusal => new Refusal("bad_artifact_reference", `${why}.`, hint);
  if (text.length > REFERENCE_CHARS) return bad(`A reference has at most ${REFERENCE_CHARS} characters`);
  const bare = text.startsWith("oci://") ? text.slice("oci://".length) : text;
  const slash = bare.indexOf("/");
  const registry = bare.slice(0, Math.max(0, slash)).toLowerCase();
  // As everywhere: a name without dot and port would be a folder at one company's registry.
  const isHost = /[.:]/.test(registry) || registry === "localhost";
  if (!isHost) return bad("It does not say which registry", `${FORM}; that of Docker is docker.io/…`);
  if (!REGISTRY.test(registry) || !URL.canParse(`https://${registry}`) || Number(/:(\d+)$/.exec(registry)?.[1] ?? 1) > 65_535)
    return bad("Its registry is no host[:port]");
  const rest = bare.slice(slash + 1);
  const at = rest.indexOf("@");
  const digest = at < 0 ? undefined : rest.slice(at + 1);
  const named = at < 0 ? rest : rest.slice(0, at);
  const colon = named.indexOf(":");
  const repository = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (!REPOSITORY.test(repository) || repository.length > REPOSITORY_CHARS) return bad("Its repository is no name in lower case");
  if (tag !== undefined && !TAG.test(tag)) return bad("Its tag is none");
  if (digest !== undefined && !isDigest(digest)) return bad("Its digest is not sha256: and 64 hex digits");
  const version = digest ?? tag;
  if (version === undefined) return bad("It has neither tag nor digest");
  return { text: bare, registry, repository, version };
}

const FORM = "registry/repository:tag or registry/repository@sha256:hex";
