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

/** A signature that stands on a module and proves nothing. */
export interface BadSignature {
  /**
   * `signature_mismatch`: it does not fit the bytes in front of it. `signature_malformed`: not of a form that is read here. `signature_misplaced`:
   * bytes stand behind it. `too_many_signatures`: more than are looked at, so none counts.
   */
  readonly code: "signature_mismatch" | "signature_malformed" | "signature_misplaced" | "too_many_signatures";
  /** The key that it names, `ed25519:…`; "": none can be read. Whoever wrote the section chose it. */
  readonly key: string;
  /** For people. */
  readonly reason: string;
}

/** What of a module's signatures does not verify; empty: all do, or there is none. Never throws. */
export function badSignaturesOf(wasm: Uint8Array): BadSignature[] {
  const { signatures, bodyEnd, malformed, misplaced, problem } = readSignatures(wasm);
  if (problem !== "" && bodyEnd < wasm.byteLength && malformed === 0 && !misplaced)
    return [{ code: "too_many_signatures", key: "", reason: problem }];
  const bad: BadSignature[] = [];
  const message = signatures.length === 0 ? Buffer.alloc(0) : messageOf(wasm.subarray(0, bodyEnd));
  const mismatch = "it does not fit the bytes in front of it: they or it were altered";
  for (const each of signatures)
    if (!isGenuine(each, message))
      bad.push({ code: "signature_mismatch", key: formatTrustedKey(each.publicKey), reason: mismatch });
  if (malformed > 0) bad.push({ code: "signature_malformed", key: "", reason: "a signature is not of a form that is read here" });
  if (misplaced) bad.push({ code: "signature_misplaced", key: "", reason: "there are bytes behind a signature" });
  return bad;
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

interface Signatures {
  readonly signatures: Signature[];
  readonly bodyEnd: number;
  /** At the end, but not read. */
  readonly malformed: number;
  /** Is there one that has other bytes behind it? */
  readonly misplaced: boolean;
  /** Why none counts, when there are none, too many, or something stands behind them. */
  readonly problem: string;
}

function readSignatures(wasm: Uint8Array): Signatures {
  const sections = readSections(wasm);
  let bodyEnd = wasm.byteLength;
  const signatures: Signature[] = [];
  let [malformed, tail] = [0, 0];
  for (let i = sections.length - 1; i >= 0; i--) {
    const section = sections[i];
    if (section === undefined || section.id !== 0 || section.name !== SIGNATURE_SECTION || section.end !== bodyEnd) break;
    bodyEnd = section.start;
    tail++;
    if (signatures.length === CONFIG_LIMITS.signatures)
      return {
        signatures: [],
        bodyEnd,
        malformed: 0,
        misplaced: false,
        problem: `it has more than ${CONFIG_LIMITS.signatures} signatures`,
      };
    const { content } = section;
    if (content[0] !== VERSION || content.byteLength !== 1 + KEY_BYTES + SIGNATURE_BYTES) {
      malformed++;
      continue;
    }
    const publicKey = content.subarray(1, 1 + KEY_BYTES);
    signatures.push({ content, publicKey, signature: content.subarray(1 + KEY_BYTES) });
  }
  const misplaced = sections.filter(({ id, name }) => id === 0 && name === SIGNATURE_SECTION).length > tail;
  const none = misplaced
    ? "there are bytes behind its signature"
    : malformed > 0
      ? "its signature is not of a form that is read here"
      : "it is not signed";
  return { signatures: signatures.reverse(), bodyEnd, malformed, misplaced, problem: signatures.length === 0 ? none : "" };
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
