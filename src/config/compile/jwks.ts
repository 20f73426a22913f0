import { createPublicKey } from "node:crypto";
import { parseShallowJson } from "../../core/json-text.ts";

/** Smallest symmetric key by algorithm (RFC 7518 §3.2): as long as the hash. */
const HMAC_BYTES: Readonly<Record<string, number>> = { HS256: 32, HS384: 48, HS512: 64 };
const EC_ALGORITHMS: Readonly<Record<string, string>> = { "P-256": "ES256", "P-384": "ES384", "P-521": "ES512" };
const RSA_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
/** RFC 7518 §3.3. */
const RSA_BITS_MIN = 2048;

type Jwk = Readonly<Record<string, unknown>>;

export interface ReadKeys {
  readonly keys: readonly Jwk[];
  /** Algorithms that at least one key can verify; sorted. */
  readonly algorithms: readonly string[];
}

/** Reads a JSON Web Key Set (RFC 7517); a text says why it cannot be used. */
export function readJwks(text: string): ReadKeys | string {
  let set: unknown;
  try {
    set = parseShallowJson(text);
  } catch {
    return "It is not JSON";
  }
  const keys = typeof set === "object" && set !== null && "keys" in set ? set.keys : undefined;
  if (!Array.isArray(keys) || keys.length === 0) return "It has no list of `keys`";
  if (keys.length > 100) return "It has more than 100 keys";
  const algorithms = new Set<string>();
  for (const [i, key] of keys.entries()) {
    const fit = typeof key === "object" && key !== null ? algorithmsOf(key as Jwk) : "it is not an object";
    if (typeof fit === "string") return `Key ${i} cannot be used: ${fit}`;
    for (const algorithm of fit) algorithms.add(algorithm);
  }
  const symmetric = [...algorithms].filter((each) => each.startsWith("HS")).length;
  if (symmetric > 0 && symmetric < algorithms.size) return "It mixes symmetric and public keys";
  return { keys: keys as Jwk[], algorithms: [...algorithms].sort() };
}

/** What a key may verify: decided by its type alone, narrowed by its own `alg` (RFC 8725 §3.1). */
function algorithmsOf(key: Jwk): string[] | string {
  const byType = algorithmsOfType(key);
  if (typeof byType === "string" || key.alg === undefined) return byType;
  return byType.some((each) => each === key.alg) ? [key.alg as string] : `alg ${JSON.stringify(key.alg)} does not fit its type`;
}

function algorithmsOfType(key: Jwk): string[] | string {
  if (key.use !== undefined && key.use !== "sig") return "its use is not sig";
  if (key.kty === "oct") {
    if (typeof key.k !== "string" || !/^[A-Za-z0-9_-]+$/.test(key.k)) return "it has no k";
    const bytes = Buffer.from(key.k, "base64url").byteLength;
    const fit = Object.keys(HMAC_BYTES).filter((each) => bytes >= (HMAC_BYTES[each] as number));
    return fit.length === 0 ? "it is shorter than 32 bytes" : fit;
  }
  if ("d" in key) return "it is a private key";
  try {
    createPublicKey({ key: key as JsonWebKey, format: "jwk" });
  } catch {
    return "it is malformed";
  }
  if (key.kty === "RSA") {
    const bits = Buffer.from(String(key.n), "base64url").byteLength * 8;
    return bits < RSA_BITS_MIN ? `it has fewer than ${RSA_BITS_MIN} bits` : RSA_ALGORITHMS;
  }
  if (key.kty === "OKP") return key.crv === "Ed25519" ? ["EdDSA"] : "its curve is not Ed25519";
  const ec = EC_ALGORITHMS[String(key.crv)];
  return key.kty === "EC" && ec !== undefined ? [ec] : "its type or curve is unknown";
}
