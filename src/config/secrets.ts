import type { Json } from "./parse.ts";
import { SecretSettings } from "./secret-settings.ts";
import { childOf, hidden, mapChildren, redactSettings } from "./secret-values.ts";
import type { AuthenticationConfig, JwtProviderConfig, ListenerConfig, ServiceConfig, Snapshot } from "./snapshot.ts";

type Parts = Pick<Snapshot, "listeners" | "services" | "authentications">;
type Change = (secret: string) => string;

/** Applies `change` to every secret of a snapshot: private keys, and key sets with symmetric keys. Everything else is shared. */
export function mapSecrets<S extends Parts>(snapshot: S, change: Change): S {
  return {
    ...snapshot,
    listeners: snapshot.listeners.map((each) => mapListenerSecrets(each, change)),
    services: snapshot.services.map((each) => mapServiceSecrets(each, change)),
    authentications: snapshot.authentications.map((each) => mapAuthenticationSecrets(each, change)),
  };
}

/** The listener itself when it has no secret. */
export function mapListenerSecrets(listener: ListenerConfig, change: Change): ListenerConfig {
  if (listener.tls === undefined) return listener;
  const certificates = listener.tls.certificates.map((each) => ({ ...each, keyPem: change(each.keyPem) }));
  return { ...listener, tls: { ...listener.tls, certificates } };
}

/** The service itself when it has no secret. */
export function mapServiceSecrets(service: ServiceConfig, change: Change): ServiceConfig {
  if (service.tls?.keyPem === undefined) return service;
  return { ...service, tls: { ...service.tls, keyPem: change(service.tls.keyPem) } };
}

/** The authentication itself when it has no secret. */
export function mapAuthenticationSecrets(authentication: AuthenticationConfig, change: Change): AuthenticationConfig {
  if (!authentication.jwt.some(isSecret)) return authentication;
  return { ...authentication, jwt: authentication.jwt.map((each) => mapProvider(each, change)) };
}

function mapProvider(provider: JwtProviderConfig, change: Change): JwtProviderConfig {
  const { keys } = provider;
  return isSecret(provider) && keys.kind === "inline" ? { ...provider, keys: { ...keys, jwks: change(keys.jwks) } } : provider;
}

/** A key set is a secret when HMAC is allowed: its keys sign as well as verify. */
function isSecret(provider: JwtProviderConfig): boolean {
  return provider.keys.kind === "inline" && provider.algorithms.some((each) => each.startsWith("HS"));
}

/** Fields whose `inline` is a secret: private keys, key sets. */
const INLINE_SECRETS = new Set(["key", "keys", "jwks"]);

/**
 * A resource as it was written, for people to see: private keys and key sets that stand inline are redacted, and filter settings that are secret by
 * `secret` or whose name sounds like it. `former`: what it was before; a secret that is another now says so.
 */
export function redactWritten(written: Json, secret: SecretSettings = SecretSettings.NONE, former?: Json): Json {
  if (typeof written !== "object" || written === null) return written;
  return mapChildren(written, (value, name) => {
    const was = childOf(former, name);
    if (name === "settings") return redactSettings(value, secret, was);
    const isInline = INLINE_SECRETS.has(String(name)) && typeof value === "object" && value !== null && "inline" in value;
    if (isInline) return { ...value, inline: hidden(value.inline as Json, childOf(was, "inline")) };
    return redactWritten(value, secret, was);
  });
}

/** The same of both sides of a change, each with what is secret in it. */
export function redactChange<C extends { readonly before?: Json; readonly after?: Json }>(
  change: C,
  secretBefore?: SecretSettings,
  secretAfter?: SecretSettings,
): C {
  const { before, after } = change;
  return {
    ...change,
    ...(before === undefined ? {} : { before: redactWritten(before, secretBefore) }),
    ...(after === undefined ? {} : { after: redactWritten(after, secretAfter, before) }),
  };
}
