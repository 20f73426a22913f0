import { createCipheriv, createDecipheriv, createHash } from "node:crypto";
import { sha256Digest } from "../canonical.ts";

/**
 * Objects lie in one bucket that every proxy may read, and sections hold private keys: so each is sealed with a key that
 * follows from its own digest, and lies under a name that follows from it too, one way. Who has a digest (it stands in the
 * manifest, which only the proxies of that group may read) can find and open the object; who lists the bucket learns
 * nothing. The same bytes give the same object, so two control planes write the same.
 */
const TAG_BYTES = 16;
// Every key seals exactly one plaintext, so a fixed nonce is safe.
const NONCE = new Uint8Array(12);

const derive = (label: string, digest: string): Buffer => createHash("sha256").update(`selvedge ${label}\n${digest}`).digest();

/** Name of the sealed object with this digest. */
export function sealedName(digest: string): string {
  return `sealed-${derive("object name", digest).toString("hex")}`;
}

/** Name of a module in the object store: modules are not secret. */
export function moduleName(digest: string): string {
  return digest;
}

export function seal(bytes: Uint8Array, digest: string): Uint8Array {
  const cipher = createCipheriv("aes-256-gcm", derive("object key", digest), NONCE);
  return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

/** Throws an `Error` when the bytes are not the sealed form of what has this digest. */
export function unseal(sealed: Uint8Array, digest: string): Uint8Array {
  if (sealed.byteLength < TAG_BYTES) throw new Error(`object of ${digest} is too short`);
  const decipher = createDecipheriv("aes-256-gcm", derive("object key", digest), NONCE);
  decipher.setAuthTag(sealed.subarray(sealed.byteLength - TAG_BYTES));
  const bytes = Buffer.concat([decipher.update(sealed.subarray(0, sealed.byteLength - TAG_BYTES)), decipher.final()]);
  if (sha256Digest(bytes) !== digest) throw new Error(`object does not have the digest ${digest}`);
  return bytes;
}
