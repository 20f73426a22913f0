import { Buffer } from "node:buffer";
import { compactVerify } from "jose";
import { type Bytes, utf8TextStrict } from "../../core/bytes.ts";
import { parseShallowJson } from "../../core/json-text.ts";
import { err, ok, type Result } from "../../core/result.ts";
import type { KeySet } from "./keys.ts";

/** A compact JWS (RFC 7515 §7.1) taken apart, not verified. */
export interface ParsedToken {
  readonly algorithm: string;
  readonly kid: string | undefined;
  readonly payload: Bytes;
}

const PART = /^[A-Za-z0-9_-]*$/;

/**
 * Takes a compact JWS apart. Refused: JWE (five parts), anything that is not base64url to the letter, and header parameters
 * that change what is signed or must be understood (`crit`, `b64`, `zip`). Keys in the header (`jwk`, `jku`, `x5c`, `x5u`) are
 * never looked at.
 */
export function parseToken(token: string): Result<ParsedToken, string> {
  const parts = token.split(".");
  if (parts.length === 5) return err("encrypted tokens are not accepted");
  const [header, payload, signature] = parts;
  if (parts.length !== 3 || header === undefined || payload === undefined || signature === undefined || signature === "")
    return err("not a signed token");
  const headerBytes = decodePart(header);
  const payloadBytes = decodePart(payload);
  if (headerBytes === undefined || payloadBytes === undefined || decodePart(signature) === undefined) return err("not base64url");
  const fields = parseObject(headerBytes);
  if (fields === undefined) return err("its header is not a JSON object");
  for (const name of ["crit", "b64", "zip", "enc"])
    if (Object.hasOwn(fields, name)) return err(`header parameter ${name} is not accepted`);
  if (typeof fields.alg !== "string") return err("it names no algorithm");
  if (fields.kid !== undefined && typeof fields.kid !== "string") return err("its kid is not a string");
  return ok({ algorithm: fields.alg, kid: fields.kid as string | undefined, payload: payloadBytes });
}

/** Canonical base64url only: unused bits must be zero, so that one token has one spelling. */
function decodePart(part: string): Bytes | undefined {
  if (!PART.test(part)) return undefined;
  const bytes = Buffer.from(part, "base64url");
  return bytes.toString("base64url") === part ? bytes : undefined;
}

/** A JSON object in strict UTF-8, or undefined. */
export function parseObject(bytes: Bytes): Readonly<Record<string, unknown>> | undefined {
  try {
    const value = parseShallowJson(utf8TextStrict(bytes));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Is the signature one of a key that fits? The algorithm must be among those allowed, whatever the token says. */
export async function verifySignature(
  token: string,
  parsed: ParsedToken,
  keys: KeySet,
  algorithms: readonly string[],
): Promise<Result<Bytes, string>> {
  if (!algorithms.includes(parsed.algorithm)) return err("its algorithm is not allowed");
  const candidates = keys.find(parsed.kid, parsed.algorithm);
  for (const candidate of candidates) {
    try {
      const key = await candidate.import(parsed.algorithm);
      return ok((await compactVerify(token, key, { algorithms: [parsed.algorithm] })).payload);
    } catch {
      // The next key may fit; why this one did not is nobody's business.
    }
  }
  return err(candidates.length === 0 ? "no key fits" : "its signature is wrong");
}
