import type { JwtProviderConfig } from "../../config/snapshot.ts";

type Claims = Readonly<Record<string, unknown>>;

/** Why the claims do not entitle now; undefined: they do. `nowMs` is wall-clock time. RFC 7519 §4.1. */
export function refuseClaims(claims: Claims, provider: JwtProviderConfig, nowMs: number): string | undefined {
  if (claims.iss !== provider.issuer) return "its issuer is another one";
  if (provider.audiences.length > 0 && !audienceOf(claims).some((each) => provider.audiences.includes(each)))
    return "it is for another audience";
  if (!isTime(claims.exp) || !isTime(claims.nbf)) return "exp and nbf must be numbers";
  if (claims.exp === undefined && provider.requireExpiration) return "it never expires";
  if (claims.exp !== undefined && nowMs >= (claims.exp as number) * 1000 + provider.clockSkewMs) return "it has expired";
  if (claims.nbf !== undefined && nowMs < (claims.nbf as number) * 1000 - provider.clockSkewMs) return "it is not valid yet";
  return undefined;
}

function isTime(value: unknown): boolean {
  return value === undefined || (typeof value === "number" && Number.isFinite(value));
}

function audienceOf(claims: Claims): readonly string[] {
  const { aud } = claims;
  if (typeof aud === "string") return [aud];
  return Array.isArray(aud) ? aud.filter((each): each is string => typeof each === "string") : [];
}

/** `issuer/subject`; undefined when the token names no subject. */
export function principalOf(claims: Claims): string | undefined {
  return typeof claims.sub === "string" && claims.sub !== "" ? `${String(claims.iss)}/${claims.sub}` : undefined;
}
