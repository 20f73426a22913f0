import type { JwtProviderConfig, Snapshot } from "./snapshot.ts";

type Parts = Pick<Snapshot, "listeners" | "services" | "authentications">;

/** Applies `change` to every secret of a snapshot: private keys, and key sets with symmetric keys. Everything else is shared. */
export function mapSecrets<S extends Parts>(snapshot: S, change: (secret: string) => string): S {
  return {
    ...snapshot,
    listeners: snapshot.listeners.map((listener) => {
      if (listener.tls === undefined) return listener;
      const certificates = listener.tls.certificates.map((each) => ({ ...each, keyPem: change(each.keyPem) }));
      return { ...listener, tls: { ...listener.tls, certificates } };
    }),
    services: snapshot.services.map((service) => {
      if (service.tls?.keyPem === undefined) return service;
      return { ...service, tls: { ...service.tls, keyPem: change(service.tls.keyPem) } };
    }),
    authentications: snapshot.authentications.map((authentication) => ({
      ...authentication,
      jwt: authentication.jwt.map((provider) => mapProvider(provider, change)),
    })),
  };
}

function mapProvider(provider: JwtProviderConfig, change: (secret: string) => string): JwtProviderConfig {
  // A key set is a secret when HMAC is allowed: its keys sign as well as verify.
  if (provider.keys.kind !== "inline" || !provider.algorithms.some((each) => each.startsWith("HS"))) return provider;
  return { ...provider, keys: { ...provider.keys, jwks: change(provider.keys.jwks) } };
}

const SECRET_KEY = /key|secret|token|password|credential|hash/i;

/** Filter settings with every value redacted whose key sounds like a secret. */
export function redactSettings(settings: string): string {
  return JSON.stringify(JSON.parse(settings), (key, value: unknown) =>
    SECRET_KEY.test(key) && (typeof value === "string" || Array.isArray(value)) ? "[redacted]" : value,
  );
}
