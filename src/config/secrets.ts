import type { Json } from "./parse.ts";
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

/** A resource as it was written, for people to see: what stands inline in a field `key` or `keys` (private keys, key sets) is redacted. */
export function redactWritten(written: Json): Json {
  if (Array.isArray(written)) return (written as readonly Json[]).map(redactWritten);
  if (typeof written !== "object" || written === null) return written;
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) => {
      const isSecretHere =
        (name === "key" || name === "keys") && typeof value === "object" && value !== null && "inline" in value;
      return [name, isSecretHere ? { ...value, inline: "[redacted]" } : redactWritten(value)];
    }),
  );
}

const SECRET_KEY = /key|secret|token|password|credential|hash/i;

/** Filter settings with every value redacted whose key sounds like a secret. */
export function redactSettings(settings: string): string {
  return JSON.stringify(JSON.parse(settings), (key, value: unknown) =>
    SECRET_KEY.test(key) && (typeof value === "string" || Array.isArray(value)) ? "[redacted]" : value,
  );
}
