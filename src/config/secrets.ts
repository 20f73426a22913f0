import { isSameData } from "../core/equal.ts";
import type { Json } from "./parse.ts";
import { placeOf, SecretSettings } from "./secret-settings.ts";
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
    if (name === "settings") return redactIn(value, secret, was);
    const isInline = INLINE_SECRETS.has(String(name)) && typeof value === "object" && value !== null && "inline" in value;
    if (isInline) return { ...value, inline: hidden(value.inline as Json, childOf(was, "inline")) };
    return redactWritten(value, secret, was);
  });
}

/** The same inside settings. */
function redactIn(value: Json, secret: SecretSettings, former: Json | undefined, soundsSecret = false): Json {
  if (secret.isSecret || (soundsSecret && typeof value === "string")) return hidden(value, former);
  if (typeof value !== "object" || value === null) return value;
  return mapChildren(value, (child, name) => {
    // `tokens: [a, b]`: each of them, and of lists in it; a mapping has names of its own.
    const pattern = Array.isArray(child) ? SECRET_LIST : SECRET_KEY;
    const sounds = typeof name === "string" ? pattern.test(name) : soundsSecret;
    return redactIn(child, secret.at(name), childOf(former, name), sounds);
  });
}

/** Is what stands there in filter settings, or what it is part of, redacted when it is shown? */
export function isSecretAt(path: readonly (string | number)[], settings: SecretSettings): boolean {
  let secret = settings;
  for (const step of path) {
    if (secret.isSecret || (typeof step === "string" && SECRET_KEY.test(step))) return true;
    secret = secret.at(step);
  }
  return secret.isSecret;
}

function mapChildren(value: object, change: (child: Json, name: string | number) => Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(change);
  return Object.fromEntries(Object.entries(value).map(([name, child]) => [name, change(child as Json, name)]));
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

const hidden = (value: Json, was: Json | undefined): string =>
  was === undefined || isSameData(was, value) ? REDACTED : REDACTED_OTHER;

function childOf(parent: Json | undefined, name: string | number): Json | undefined {
  return typeof parent === "object" && parent !== null ? (parent as Readonly<Record<string, Json>>)[name] : undefined;
}

const SECRET_KEY = /key|secret|token|password|credential|hash/i;
/** Of lists: a `key` that is one says what something is counted by. */
const SECRET_LIST = /keys|secret|token|password|credential|hash/i;

/** Filter settings with every value redacted whose key sounds like a secret, and those at `pointers` (RFC 6901). */
export function redactSettings(settings: string, pointers: readonly string[] = []): string {
  const secret = new Set(pointers);
  const redact = (value: Json, place: string): Json => {
    if (secret.has(place)) return REDACTED;
    if (typeof value !== "object" || value === null) return value;
    return mapChildren(value, (child, name) => {
      const isNamed = typeof name === "string" && SECRET_KEY.test(name) && (typeof child === "string" || Array.isArray(child));
      return isNamed ? REDACTED : redact(child, placeOf(place, name));
    });
  };
  return JSON.stringify(redact(JSON.parse(settings) as Json, ""));
}
