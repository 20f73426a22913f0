import { CREDENTIAL_FIELDS } from "../../core/credentials.ts";
import type { ExchangeRecord } from "./record.ts";

/** What is never logged, however the log is configured (class 43, invariant "no secret in a log"). */

/** Headers that carry credentials, or what they are made of; their values are never logged. */
const SECRET_HEADERS: ReadonlySet<string> = new Set([
  ...CREDENTIAL_FIELDS,
  "x-forwarded-client-cert",
  "www-authenticate",
  "proxy-authenticate",
  "authentication-info",
]);

/** Query parameters that carry credentials (OAuth 2, signed URLs, common API keys), lower case. */
const SECRET_PARAMETERS: ReadonlySet<string> = new Set([
  "access_token",
  "refresh_token",
  "id_token",
  "token",
  "auth",
  "auth_token",
  "authorization",
  "api_key",
  "apikey",
  "api-key",
  "key",
  "secret",
  "client_secret",
  "client_assertion",
  "password",
  "passwd",
  "pwd",
  "code",
  "sig",
  "signature",
  "session",
  "sessionid",
  "session_id",
  "jwt",
  "assertion",
  "x-amz-signature",
  "x-amz-security-token",
  "x-amz-credential",
  "x-goog-signature",
  "x-goog-credential",
  "ticket",
]);

export const REDACTED = "[redacted]";

/** True when the values of this header (lower case) must not be logged. */
export function isSecretHeader(name: string): boolean {
  return SECRET_HEADERS.has(name);
}

/** The query with the values of credentials replaced. Allocates only when there is one. Names are compared decoded. */
export function redactQuery(query: string): string {
  let redacted = "";
  let kept = 0;
  let start = 0;
  while (start <= query.length) {
    let end = query.indexOf("&", start);
    if (end < 0) end = query.length;
    const equals = query.indexOf("=", start);
    if (equals >= start && equals < end && isSecretParameter(query.slice(start, equals))) {
      redacted += query.slice(kept, equals + 1) + REDACTED;
      kept = end;
    }
    start = end + 1;
  }
  return kept === 0 ? query : redacted + query.slice(kept);
}

/** The path of an exchange as it came, for a log. */
export function loggedPath({ originalPath }: ExchangeRecord): string {
  const mark = originalPath.indexOf("?");
  return mark < 0 ? originalPath : originalPath.slice(0, mark);
}

/** Its query, with the values of credentials replaced; "" when there is none. */
export function loggedQuery({ originalPath, request }: ExchangeRecord): string {
  const mark = originalPath.indexOf("?");
  const query = mark < 0 ? request?.query : originalPath.slice(mark + 1);
  return query === undefined ? "" : redactQuery(query);
}

function isSecretParameter(name: string): boolean {
  if (!name.includes("%")) return SECRET_PARAMETERS.has(name.toLowerCase());
  try {
    return SECRET_PARAMETERS.has(decodeURIComponent(name).toLowerCase());
  } catch {
    // Not decodable: nobody can tell what it names, so its value stays out of the log.
    return true;
  }
}
