import { Buffer } from "node:buffer";
import { type CryptoKey, importJWK, type JWK } from "jose";
import { parseShallowJson } from "../../core/json-text.ts";
import { JWT_LIMITS } from "../../core/limits.ts";
import { err, ok, type Result } from "../../core/result.ts";
import { isRocaModulus } from "./roca.ts";

/** Least length of a symmetric key by algorithm (RFC 7518 §3.2). */
const HMAC_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
const EC_ALGORITHMS: Readonly<Record<string, string>> = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" };
const RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
/** RFC 7518 §3.3. */
const RSA_MODULUS_BYTES = 256;
const BASE64URL = /^[A-Za-z0-9_-]+$/;

type FetchedKey = Readonly<Record<string, unknown>>;

/** One key and what it may verify: decided by its type, narrowed by its own `alg` (RFC 8725 §3.1), never by the token. */
export class VerificationKey {
  readonly #imported = new Map<string, Promise<CryptoKey | Uint8Array>>();

  constructor(
    readonly kid: string | undefined,
    readonly algorithms: readonly string[],
    readonly jwk: JWK,
  ) {}

  /** The key made ready for one algorithm; rejects when the runtime cannot read it (a point that is not on the curve). */
  import(algorithm: string): Promise<CryptoKey | Uint8Array> {
    let imported = this.#imported.get(algorithm);
    if (imported === undefined) {
      imported = importJWK(this.jwk, algorithm);
      this.#imported.set(algorithm, imported);
    }
    return imported;
  }
}

/** The keys of one issuer at one time. */
export class KeySet {
  constructor(readonly keys: readonly VerificationKey[]) {}

  /** Keys that fit; with a `kid` only those of that name, else all of the algorithm (bounded). */
  find(kid: string | undefined, algorithm: string): VerificationKey[] {
    const fit = this.keys.filter((key) => key.algorithms.includes(algorithm) && (kid === undefined || key.kid === kid));
    return fit.slice(0, JWT_LIMITS.keysTried);
  }

  has(kid: string): boolean {
    return this.keys.some((key) => key.kid === kid);
  }
}

/**
 * Reads a JSON Web Key Set (RFC 7517). Keys for other purposes, weak ones and ones of unknown type are left out; so are keys
 * that share a `kid`, because a token could mean either. The error says why the whole set is refused.
 */
export function readKeySet(text: string): Result<KeySet, string> {
  let set: unknown;
  try {
    set = parseShallowJson(text);
  } catch {
    return err("the key set is not JSON");
  }
  const list = typeof set === "object" && set !== null && "keys" in set ? set.keys : undefined;
  if (!Array.isArray(list)) return err("the key set has no list of keys");
  const keys: VerificationKey[] = [];
  const seen = new Set<string>();
  const repeated = new Set<string>();
  for (const each of list.slice(0, JWT_LIMITS.jwksKeys)) {
    if (typeof each !== "object" || each === null) continue;
    const key = each as FetchedKey;
    const kid = typeof key.kid === "string" ? key.kid : undefined;
    if (kid !== undefined) (seen.has(kid) ? repeated : seen).add(kid);
    const algorithms = algorithmsOf(key);
    if (algorithms.length > 0) keys.push(new VerificationKey(kid, algorithms, publicPart(key)));
  }
  const symmetric = keys.filter((key) => key.jwk.kty === "oct").length;
  // Published beside public keys a secret is none, and HS/RS confusion becomes possible.
  if (symmetric > 0 && symmetric < keys.length) return err("the key set mixes symmetric and public keys");
  const usable = keys.filter((key) => key.kid === undefined || !repeated.has(key.kid));
  return usable.length === 0 ? err("the key set has no usable key") : ok(new KeySet(usable));
}

/** Only what verifying needs: no private part, no `use`, `alg` or `key_ops` that a runtime reads differently. */
function publicPart(key: FetchedKey): JWK {
  const part: Record<string, unknown> = {};
  for (const name of ["kty", "crv", "x", "y", "n", "e", "k"]) if (key[name] !== undefined) part[name] = key[name];
  return part as unknown as JWK;
}

function algorithmsOf(key: FetchedKey): readonly string[] {
  if (key.use !== undefined && key.use !== "sig") return [];
  if (key.key_ops !== undefined && !(Array.isArray(key.key_ops) && key.key_ops.includes("verify"))) return [];
  const byType = algorithmsOfType(key);
  if (key.alg === undefined) return byType;
  // Some publish the curve's size instead of the hash's.
  const alg = key.alg === "ES521" ? "ES512" : key.alg;
  if (typeof alg !== "string" || !byType.includes(alg)) return [];
  // Within one RSA padding a stronger hash is fine, a weaker one is not; between paddings nothing moves.
  return key.kty === "RSA" ? byType.filter((each) => each.startsWith(alg.slice(0, 2)) && each >= alg) : [alg];
}

function algorithmsOfType(key: FetchedKey): readonly string[] {
  switch (key.kty) {
    case "oct": {
      const bytes = decoded(key.k)?.byteLength ?? 0;
      return Object.keys(HMAC_BYTES).filter((each) => bytes >= (HMAC_BYTES[each] as number));
    }
    case "RSA":
      return isStrongRsa(key) ? RSA_ALGORITHMS : [];
    case "EC": {
      const algorithm = EC_ALGORITHMS[String(key.crv)];
      return algorithm === undefined || decoded(key.x) === undefined || decoded(key.y) === undefined ? [] : [algorithm];
    }
    case "OKP":
      return key.crv === "Ed25519" && decoded(key.x)?.byteLength === 32 ? ["EdDSA"] : [];
    default:
      return [];
  }
}

function isStrongRsa(key: FetchedKey): boolean {
  const modulus = withoutZeros(decoded(key.n));
  const exponent = withoutZeros(decoded(key.e));
  if (modulus === undefined || exponent === undefined || modulus.byteLength < RSA_MODULUS_BYTES) return false;
  const odd = ((exponent.at(-1) ?? 0) & 1) === 1;
  const atLeast3 = exponent.byteLength > 1 || (exponent[0] ?? 0) >= 3;
  return odd && atLeast3 && !isRocaModulus(modulus);
}

function decoded(text: unknown): Uint8Array | undefined {
  return typeof text === "string" && BASE64URL.test(text) ? Buffer.from(text, "base64url") : undefined;
}

function withoutZeros(bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined) return undefined;
  let start = 0;
  while (start < bytes.byteLength && bytes[start] === 0) start++;
  return bytes.subarray(start);
}
