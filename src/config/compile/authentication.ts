import { CONFIG_LIMITS } from "../../core/limits.ts";
import { canonicalJson, sortedSet } from "../canonical.ts";
import type { IssuePath } from "../parse.ts";
import { DEFAULT_JWT_ALGORITHMS, type JwtSpec } from "../schema/authentication.ts";
import type { AuthenticationResource } from "../schema/index.ts";
import type { AuthenticationConfig, JwtProviderConfig } from "../snapshot.ts";
import { type CompileContext, fullName } from "./context.ts";
import { readJwks } from "./jwks.ts";
import { readCertificates } from "./pem.ts";

const DEFAULT_CACHE_MS = 300_000;

/** All authentications. */
export function compileAuthentications(context: CompileContext): AuthenticationConfig[] {
  return context.ofKind("Authentication").map((resource) => {
    refuseRepeated(context, resource, "name");
    refuseRepeated(context, resource, "issuer");
    const jwt = resource.spec.jwt.flatMap((spec, i) => compileProvider(context, resource, spec, ["spec", "jwt", i]) ?? []);
    return { name: fullName(resource), jwt, required: resource.spec.required };
  });
}

function refuseRepeated(context: CompileContext, resource: AuthenticationResource, field: "name" | "issuer"): void {
  const seen = new Set<string>();
  for (const [i, spec] of resource.spec.jwt.entries()) {
    const value = spec[field];
    if (seen.has(value))
      context.report(resource, ["spec", "jwt", i, field], "duplicate_name", `The ${field} ${value} is there twice.`);
    seen.add(value);
  }
}

function compileProvider(
  context: CompileContext,
  resource: AuthenticationResource,
  spec: JwtSpec,
  path: IssuePath,
): JwtProviderConfig | undefined {
  const read =
    spec.jwks.url === undefined ? readLocalKeys(context, resource, spec, path) : readRemoteKeys(context, resource, spec, path);
  if (read === undefined) return undefined;
  return {
    name: spec.name,
    issuer: spec.issuer,
    audiences: sortedSet(spec.audiences),
    algorithms: read.algorithms,
    keys: read.keys,
    fromHeaders: spec.fromHeaders,
    fromQuery: spec.fromQuery,
    forward: spec.forward,
    clockSkewMs: spec.clockSkew,
    requireExpiration: spec.requireExpiration,
    maxTokenBytes: spec.maxToken,
  };
}

type Keys = Pick<JwtProviderConfig, "algorithms" | "keys">;

function readLocalKeys(
  context: CompileContext,
  resource: AuthenticationResource,
  spec: JwtSpec,
  path: IssuePath,
): Keys | undefined {
  const { inline, file } = spec.jwks;
  const at: IssuePath = [...path, "jwks", inline === undefined ? "file" : "inline"];
  const bytes = inline === undefined ? context.readFile(resource, file ?? "", at, CONFIG_LIMITS.textBytes) : undefined;
  const text = inline ?? (bytes && new TextDecoder().decode(bytes));
  if (text === undefined || context.isRedacted(resource, text, at)) return undefined;
  const set = readJwks(text);
  if (typeof set === "string") {
    context.report(resource, at, "bad_jwks", `${set}.`);
    return undefined;
  }
  for (const [i, algorithm] of (spec.algorithms ?? []).entries()) {
    if (set.algorithms.includes(algorithm)) continue;
    const hint = `they fit ${set.algorithms.join(", ")}`;
    context.report(resource, [...path, "algorithms", i], "bad_algorithm", `No key of the set fits ${algorithm}.`, hint);
  }
  const algorithms = sortedSet(spec.algorithms ?? set.algorithms);
  return { algorithms, keys: { kind: "inline", jwks: canonicalJson({ keys: set.keys }) } };
}

function readRemoteKeys(context: CompileContext, resource: AuthenticationResource, spec: JwtSpec, path: IssuePath): Keys {
  const { url, ca, cache, allowPrivate } = spec.jwks;
  const algorithms = sortedSet(spec.algorithms ?? DEFAULT_JWT_ALGORITHMS);
  for (const [i, algorithm] of (spec.algorithms ?? []).entries()) {
    if (!algorithm.startsWith("HS")) continue;
    const message = `${algorithm} needs a shared secret, and a url serves public keys.`;
    context.report(resource, [...path, "algorithms", i], "bad_algorithm", message, "use inline or file");
  }
  const caPem = ca && readCertificates(context, resource, ca, [...path, "jwks", "ca"])?.pem;
  return {
    algorithms,
    keys: { kind: "remote", url: url ?? "", caPem, cacheMs: cache ?? DEFAULT_CACHE_MS, allowPrivate: allowPrivate ?? false },
  };
}
