/** Fields whose value is a secret that makes its holder somebody: who has it can act elsewhere. Lower case. */
export const CREDENTIAL_FIELDS: ReadonlySet<string> = new Set([
  "authorization",
  "proxy-authorization",
  "cookie",
  "set-cookie",
  "x-api-key",
  "api-key",
  "x-auth-token",
  "x-access-token",
  "x-csrf-token",
  "x-amz-security-token",
]);
