import { createHash, X509Certificate } from "node:crypto";
import type { Bytes } from "../core/bytes.ts";
import { latin1Text } from "../core/bytes.ts";
import type { PeerCertificate } from "./net.ts";

/**
 * The names in a certificate, read from its DER. The runtimes give them as one line of text ("URI:a, DNS:b"), in which a
 * name with a comma can pretend to be two (CVE-2021-44532): identities are never parsed from that.
 */

const SEQUENCE = 0x30;
const OBJECT_IDENTIFIER = 0x06;
const OCTET_STRING = 0x04;
/** `[3] EXPLICIT Extensions` of TBSCertificate (RFC 5280 section 4.1). */
const EXTENSIONS = 0xa3;
/** GeneralName choices (RFC 5280 section 4.2.1.6). */
const DNS_NAME = 0x82;
const URI_NAME = 0x86;
/** 2.5.29.17, subjectAltName. */
const SUBJECT_ALT_NAME = [0x55, 0x1d, 0x11];

interface Element {
  readonly tag: number;
  /** Where its content begins and ends. */
  readonly start: number;
  readonly end: number;
}

/** The element at `at`, which must end by `limit`; throws a `RangeError` when it does not. */
function readElement(der: Bytes, at: number, limit: number): Element {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined || at + 2 > limit) throw new RangeError("DER ends early");
  let start = at + 2;
  let length = first;
  if (first >= 0x80) {
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw new RangeError("DER length is not supported");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + (der[start + i] ?? 0);
    start += count;
  }
  if (start + length > limit) throw new RangeError("DER element is longer than its parent");
  return { tag, start, end: start + length };
}

function readChildren(der: Bytes, parent: Element): Element[] {
  const children: Element[] = [];
  for (let at = parent.start; at < parent.end; ) {
    const child = readElement(der, at, parent.end);
    children.push(child);
    at = child.end;
  }
  return children;
}

function isSubjectAltName(der: Bytes, oid: Element | undefined): boolean {
  if (oid === undefined || oid.tag !== OBJECT_IDENTIFIER || oid.end - oid.start !== SUBJECT_ALT_NAME.length) return false;
  return SUBJECT_ALT_NAME.every((byte, i) => der[oid.start + i] === byte);
}

/** URI and DNS subject alternative names, exactly as in the certificate. Throws a `RangeError` on malformed DER. */
export function readAltNames(der: Bytes): { readonly uris: string[]; readonly dnsNames: string[] } {
  const uris: string[] = [];
  const dnsNames: string[] = [];
  const certificate = readElement(der, 0, der.byteLength);
  const body = readElement(der, certificate.start, certificate.end);
  const extensions = readChildren(der, body).find((element) => element.tag === EXTENSIONS);
  if (extensions === undefined) return { uris, dnsNames };
  for (const extension of readChildren(der, readElement(der, extensions.start, extensions.end))) {
    const parts = readChildren(der, extension);
    const value = parts.at(-1);
    if (!isSubjectAltName(der, parts[0]) || value === undefined || value.tag !== OCTET_STRING) continue;
    const names = readElement(der, value.start, value.end);
    if (names.tag !== SEQUENCE) continue;
    for (const name of readChildren(der, names)) {
      const text = latin1Text(der.subarray(name.start, name.end));
      if (name.tag === URI_NAME) uris.push(text);
      if (name.tag === DNS_NAME) dnsNames.push(text);
    }
  }
  return { uris, dnsNames };
}

/** A peer's certificate; what is rarely asked for is computed when it is. */
export class DerCertificate implements PeerCertificate {
  readonly der: Bytes;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  #subject: string | undefined;
  #fingerprint: string | undefined;

  constructor(
    der: Bytes,
    readonly verified: boolean,
  ) {
    this.der = new Uint8Array(der);
    const names = readAltNames(this.der);
    this.uris = names.uris;
    this.dnsNames = names.dnsNames;
  }

  /** `CN=name, O=organisation`, in the order of the certificate. */
  get subject(): string {
    this.#subject ??= new X509Certificate(this.der).subject.split("\n").join(", ");
    return this.#subject;
  }
  get fingerprint(): string {
    this.#fingerprint ??= createHash("sha256").update(this.der).digest("hex");
    return this.#fingerprint;
  }
}
