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

export const REDACTED = "[redacted]";
export const REDACTED_OTHER = "[redacted, changed]";

/**
 * A resource as it was written, for people to see: what stands inline in a field `key` or `keys` (private keys, key sets) is redacted, and texts
 * of filter settings whose name sounds like a secret. `former`: what it was before; a secret that is another now says so.
 */
export function redactWritten(written: Json, former?: Json, inSettings = false): Json {
  if (Array.isArray(written))
    return (written as readonly Json[]).map((each, i) => redactWritten(each, childOf(former, i), inSettings));
  if (typeof written !== "object" || written === null) return written;
  return Object.fromEntries(
    Object.entries(written).map(([name, value]) => {
      const was = childOf(former, name);
      const isInline = (name === "key" || name === "keys") && typeof value === "object" && value !== null && "inline" in value;
      if (isInline && !inSettings) return [name, { ...value, inline: hidden(value.inline as Json, childOf(was, "inline")) }];
      if (inSettings && typeof value === "string" && SECRET_KEY.test(name)) return [name, hidden(value, was)];
      return [name, redactWritten(value, was, inSettings || name === "settings")];
    }),
  );
}

/** The same of both sides of a change. */
export function redactChange<C extends { readonly before?: Json; readonly after?: Json }>(change: C): C {
  const { before, after } = change;
  return {
    ...change,
    ...(before === undefined ? {} : { before: redactWritten(before) }),
    ...(after === undefined ? {} : { after: redactWritten(after, before) }),
  };
}

const hidden = (value: Json, was: Json | undefined): string => (was === undefined || was === value ? REDACTED : REDACTED_OTHER);

function childOf(parent: Json | undefined, name: string | number): Json | undefined {
  return typeof parent === "object" && parent !== null ? (parent as Readonly<Record<string, Json>>)[name] : undefined;
}

const SECRET_KEY = /key|secret|token|password|credential|hash/i;

/** Filter settings with every value redacted whose key sounds like a secret. */
export function redactSettings(settings: string): string {
  return JSON.stringify(JSON.parse(settings), (key, value: unknown) =>
    SECRET_KEY.test(key) && (typeof value === "string" || Array.isArray(value)) ? REDACTED : value,
  );
}
