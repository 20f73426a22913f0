import { z } from "zod";
import { CONFIG_LIMITS } from "../../core/limits.ts";
import { headerName } from "./headers.ts";
import { filePath, list, partName, plainText, show } from "./names.ts";
import { Refusal, refuse, textOf } from "./text.ts";
import { fileOrInline } from "./tls.ts";
import { duration, size } from "./units.ts";

/** Signature algorithms of RFC 7518 and RFC 8037 that may be allowed; `none` is not one. */
export const JWT_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "HS256",
  "HS384",
  "HS512",
] as const;

/** Taken for remote keys when `algorithms` is not given. */
export const DEFAULT_JWT_ALGORITHMS = ["ES256", "RS256"] as const;

function readUrl(text: string): string | Refusal {
  const bad = (why: string) =>
    new Refusal("bad_url", `${show(text)} is not a URL for keys: ${why}.`, "like https://issuer.example/jwks.json");
  if (text.length > CONFIG_LIMITS.valueBytes || !URL.canParse(text)) return bad("it is malformed");
  const url = new URL(text);
  if (url.protocol !== "https:" && url.protocol !== "http:") return bad("it is neither https nor http");
  if (url.username !== "" || url.password !== "") return bad("it has credentials");
  if (url.hash !== "") return bad("it has a fragment");
  return url.href;
}

const keys = z
  .strictObject({
    inline: plainText(CONFIG_LIMITS.textBytes).optional().describe("The set itself, as JSON text."),
    file: filePath().optional().describe("File with the set; relative to the configuration file."),
    url: textOf("URL", readUrl)
      .optional()
      .describe("Where the proxy fetches it (`https`; `http` only with allowPrivate). Redirects are not followed."),
    ca: fileOrInline("PEM of the CAs").optional().describe("CAs trusted for the URL. Default: the system's."),
    cache: duration(1_000)
      .optional()
      .describe(
        "How long fetched keys are used before they are fetched again. Default: `5m`. When that fails the last good ones stay.",
      ),
    allowPrivate: z.boolean().optional().describe("Allow loopback, link-local and private addresses. Default: `false`."),
  })
  .superRefine((value, context) => {
    const given = (["inline", "file", "url"] as const).filter((field) => value[field] !== undefined);
    if (given.length !== 1)
      return refuse(context, new Refusal("choose_one", "Give exactly one of inline, file, url."), ...given.slice(1, 2));
    for (const field of ["ca", "cache", "allowPrivate"] as const) {
      if (value.url !== undefined || value[field] === undefined) continue;
      refuse(context, new Refusal("conflicting_fields", `${field} is only for a url.`), field);
    }
    if (value.url?.startsWith("http:") && value.allowPrivate !== true) {
      refuse(context, new Refusal("bad_url", "Keys are fetched over https.", "http needs allowPrivate: true"), "url");
    }
  });

const jwt = z.strictObject({
  name: partName().describe("Unique in the resource; shown in logs."),
  issuer: plainText().describe("The `iss` claim, compared exactly."),
  audiences: list(plainText()).prefault([]).describe("One of them must be in the `aud` claim. Default: not checked."),
  algorithms: list(z.enum(JWT_ALGORITHMS), JWT_ALGORITHMS.length)
    .min(1)
    .optional()
    .describe(
      "Signature algorithms that are accepted. Default: those that fit the inline keys; `[ES256, RS256]` for a url. `HS…` only with inline `oct` keys.",
    ),
  jwks: keys.describe("JSON Web Key Set (RFC 7517) of the issuer."),
  fromHeaders: list(
    z.strictObject({
      name: headerName().describe("Name of the header."),
      prefix: plainText(256).default("").describe("Text before the token, as `Bearer `."),
    }),
    16,
  )
    .prefault([])
    .describe("Headers that carry the token. Default: `Authorization: Bearer`."),
  fromQuery: list(plainText(256), 16).prefault([]).describe("Query parameters that carry the token."),
  forward: z.boolean().default(false).describe("Pass the token on to the upstream."),
  clockSkew: duration(0, 600_000).prefault("60s").describe("Tolerance for `exp` and `nbf`."),
  requireExpiration: z
    .boolean()
    .default(true)
    .describe("Refuse tokens without `exp`: nobody could ever take one back that was stolen."),
  maxToken: size(256, 64 * 1024)
    .prefault("8KiB")
    .describe("Longest token."),
});

/** Who the caller is. */
export const authenticationSpec = z
  .strictObject({
    required: z
      .boolean()
      .default(true)
      .describe("`false`: a request without a token passes as nobody. A bad token never passes."),
    jwt: list(jwt, 64).min(1).describe("Issuers of JSON Web Tokens. The one whose issuer the token names checks it."),
  })
  .describe("Who the caller is: verified before the filters of a rule run; filters see the claims.");

export type AuthenticationSpec = z.output<typeof authenticationSpec>;
export type JwtSpec = AuthenticationSpec["jwt"][number];
