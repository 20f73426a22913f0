import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { CONFIG_LIMITS } from "../core/limits.ts";
import { appendCustomSection, readSections } from "./wasm-sections.ts";

/**
 * Signed filter modules. The signature is a custom section at the very end of the file, so it goes wherever the module goes;
 * it covers every byte in front of it. Several sections are several signers; one that is trusted is enough.
 *
 * Content of a section: version (1), the signer's raw ed25519 key (32 bytes), the signature (64 bytes, RFC 8032) over
 * `selvedge filter v1\n` and the SHA-256 of the bytes in front of the first signature.
 */

/** Name of the section. */
export const SIGNATURE_SECTION = "selvedge.signature";
const VERSION = 1;
const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
const CONTEXT = Buffer.from("selvedge filter v1\n");
/** An ed25519 key as X.509 has it (RFC 8410): this, then the 32 bytes. */
const SPKI_PREFIX = Buffer.from("302a300506032b6570032100", "hex");
const KEY_TEXT = /^ed25519:([A-Za-z0-9+/]{43}=)$/;

/** `ed25519:` and 44 characters of base64: how configuration names a key. Undefined: it is no such text. */
export function readTrustedKey(text: string): Uint8Array | undefined {
  const base64 = KEY_TEXT.exec(text)?.[1];
  const bytes = base64 === undefined ? undefined : Buffer.from(base64, "base64");
  return bytes?.byteLength === KEY_BYTES ? new Uint8Array(bytes) : undefined;
}

export const formatTrustedKey = (raw: Uint8Array): string => `ed25519:${Buffer.from(raw).toString("base64")}`;

/** Private key of a PEM file. Throws an `Error` when it is no ed25519 key. */
export function readSigningKey(pem: string): { readonly key: KeyObject; readonly publicKey: Uint8Array } {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== "ed25519") throw new Error(`the key is of type ${key.asymmetricKeyType}, not ed25519`);
  const der = createPublicKey(key).export({ type: "spki", format: "der" });
  return { key, publicKey: new Uint8Array(der.subarray(der.byteLength - KEY_BYTES)) };
}

/** The same module with one signature more. A former one of the same key is replaced. */
export function signModule(wasm: Uint8Array, pem: string): Uint8Array {
  const { key, publicKey } = readSigningKey(pem);
  const { signatures, bodyEnd, problem } = readSignatures(wasm);
  if (problem !== "" && bodyEnd < wasm.byteLength) throw new Error(problem);
  const body = wasm.subarray(0, bodyEnd);
  const content = Buffer.concat([Uint8Array.of(VERSION), publicKey, sign(null, messageOf(body), key)]);
  let signed: Uint8Array = body;
  for (const other of signatures) {
    if (Buffer.compare(other.publicKey, publicKey) !== 0) signed = appendCustomSection(signed, SIGNATURE_SECTION, other.content);
  }
  return appendCustomSection(signed, SIGNATURE_SECTION, content);
}

/** Keys whose signature is on the module and fits it, as configuration names them. */
export function signersOf(wasm: Uint8Array): string[] {
  const { signatures, bodyEnd } = readSignatures(wasm);
  if (signatures.length === 0) return [];
  const message = messageOf(wasm.subarray(0, bodyEnd));
  return signatures.filter((each) => isGenuine(each, message)).map(({ publicKey }) => formatTrustedKey(publicKey));
}

/** Why a module may not run when only signed ones may; undefined: a trusted key signed exactly these bytes. Never throws. */
export function refuseUnsigned(wasm: Uint8Array, trustedKeys: readonly string[]): string | undefined {
  const { signatures, bodyEnd, problem } = readSignatures(wasm);
  if (signatures.length === 0) return problem;
  const trusted = signatures.filter(({ publicKey }) => trustedKeys.includes(formatTrustedKey(publicKey)));
  if (trusted.length === 0)
    return `it is signed by ${signatures.map((each) => formatTrustedKey(each.publicKey)).join(", ")}, which is not trusted`;
  const message = messageOf(wasm.subarray(0, bodyEnd));
  return trusted.some((each) => isGenuine(each, message)) ? undefined : "it was altered after it was signed";
}

interface Signature {
  readonly content: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly signature: Uint8Array;
}

/** `problem`: why none counts, when there are none, too many, or something stands behind them. */
function readSignatures(wasm: Uint8Array): { signatures: Signature[]; bodyEnd: number; problem: string } {
  const sections = readSections(wasm);
  let bodyEnd = wasm.byteLength;
  const signatures: Signature[] = [];
  for (let i = sections.length - 1; i >= 0; i--) {
    const section = sections[i];
    if (section === undefined || section.id !== 0 || section.name !== SIGNATURE_SECTION || section.end !== bodyEnd) break;
    bodyEnd = section.start;
    if (signatures.length === CONFIG_LIMITS.signatures)
      return { signatures: [], bodyEnd, problem: `it has more than ${CONFIG_LIMITS.signatures} signatures` };
    const { content } = section;
    if (content[0] !== VERSION || content.byteLength !== 1 + KEY_BYTES + SIGNATURE_BYTES) continue;
    const publicKey = content.subarray(1, 1 + KEY_BYTES);
    signatures.push({ content, publicKey, signature: content.subarray(1 + KEY_BYTES) });
  }
  const behind = signatures.length === 0 && sections.some(({ id, name }) => id === 0 && name === SIGNATURE_SECTION);
  const problem = behind ? "there are bytes behind its signature" : signatures.length === 0 ? "it is not signed" : "";
  return { signatures: signatures.reverse(), bodyEnd, problem };
}

function messageOf(body: Uint8Array): Buffer {
  return Buffer.concat([CONTEXT, createHash("sha256").update(body).digest()]);
}

function isGenuine({ publicKey, signature }: Signature, message: Buffer): boolean {
  try {
    const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: "der", type: "spki" });
    return verify(null, message, key, signature);
  } catch {
    // Not a point of the curve.
    return false;
  }
}
