import { createHash, X509Certificate } from "node:crypto";
import type { Bytes } from "../core/bytes.ts";
import { latin1Text } from "../core/bytes.ts";
import { addressBytes, formatAddress } from "../core/ip.ts";
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
const IP_ADDRESS = 0x87;
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

/** The subject alternative names of a certificate. */
export interface AltNames {
  /** Exactly as in the certificate. */
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** In canonical text. */
  readonly addresses: readonly string[];
}

/** Throws a `RangeError` on malformed DER. */
export function readAltNames(der: Bytes): AltNames {
  const uris: string[] = [];
  const dnsNames: string[] = [];
  const addresses: string[] = [];
  const certificate = readElement(der, 0, der.byteLength);
  const body = readElement(der, certificate.start, certificate.end);
  const extensions = readChildren(der, body).find((element) => element.tag === EXTENSIONS);
  if (extensions === undefined) return { uris, dnsNames, addresses };
  for (const extension of readChildren(der, readElement(der, extensions.start, extensions.end))) {
    const parts = readChildren(der, extension);
    const value = parts.at(-1);
    if (!isSubjectAltName(der, parts[0]) || value === undefined || value.tag !== OCTET_STRING) continue;
    const names = readElement(der, value.start, value.end);
    if (names.tag !== SEQUENCE) continue;
    for (const name of readChildren(der, names)) {
      const content = der.subarray(name.start, name.end);
      const text = latin1Text(content);
      if (name.tag === IP_ADDRESS && (content.length === 4 || content.length === 16)) addresses.push(formatAddress(content));
      if (name.tag === URI_NAME) uris.push(text);
      if (name.tag === DNS_NAME) dnsNames.push(text);
    }
  }
  return { uris, dnsNames, addresses };
}

/** `readAltNames`, or undefined for malformed DER. */
export function tryAltNames(der: Bytes): AltNames | undefined {
  try {
    return readAltNames(der);
  } catch {
    return undefined;
  }
}

/**
 * Does the certificate name this host (RFC 9525)? An address must be among the addresses; a name among the DNS names, in any
 * case, where `*` may stand for the whole leftmost label of a name of at least three. The common name counts for nothing.
 */
export function namesHost(names: AltNames, host: string): boolean {
  const address = addressBytes(host);
  if (address !== undefined) return names.addresses.includes(formatAddress(address));
  const wanted = withoutDot(host.toLowerCase());
  const dot = wanted.indexOf(".");
  const parent = dot > 0 ? wanted.slice(dot) : "";
  const wildcard = parent.indexOf(".", 1) > 0 ? `*${parent}` : undefined;
  return names.dnsNames.some((name) => {
    const own = withoutDot(name.toLowerCase());
    return own === wildcard || (own === wanted && !own.includes("*"));
  });
}

/** An absolute name (`example.org.`) is the same host. */
const withoutDot = (name: string): string => (name.endsWith(".") ? name.slice(0, -1) : name);

function readSubject(der: Bytes): string {
  try {
    return new X509Certificate(der).subject.split("\n").join(", ");
  } catch {
    return "";
  }
}

/** A peer's certificate; what is rarely asked for is computed when it is. */
export class DerCertificate implements PeerCertificate {
  readonly der: Bytes;
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  #subject: string | undefined;
  #fingerprint: string | undefined;

  readonly verified: boolean;

  /** Never throws: peers send what they like. A certificate whose names cannot be read has none and is not verified. */
  constructor(der: Bytes, verified: boolean) {
    this.der = new Uint8Array(der);
    const names = tryAltNames(this.der);
    this.uris = names?.uris ?? [];
    this.dnsNames = names?.dnsNames ?? [];
    this.verified = verified && names !== undefined;
  }

  /** `CN=name, O=organisation`, in the order of the certificate. */
  get subject(): string {
    this.#subject ??= readSubject(this.der);
    return this.#subject;
  }
  get fingerprint(): string {
    this.#fingerprint ??= createHash("sha256").update(this.der).digest("hex");
    return this.#fingerprint;
  }
}

/** Certificates of authorities, as a PEM text has them; compared when it changes. */
export class Authorities {
  readonly #byBytes = new Map<string, X509Certificate>();

  /** What cannot be read vouches for nobody. */
  constructor(pem: string) {
    for (const [block] of pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)) {
      try {
        const certificate = new X509Certificate(block);
        this.#byBytes.set(Buffer.from(certificate.raw).toString("base64"), certificate);
      } catch {
        // Left out.
      }
    }
  }

  /** Whether all of `former` are here: nobody has lost trust. */
  include(former: Authorities): boolean {
    return [...former.#byBytes.keys()].every((each) => this.#byBytes.has(each));
  }

  /**
   * Whether one of them signed the certificate itself. Of a handshake that is over the leaf alone is known, so one that hangs on an
   * authority between is not vouched for.
   */
  vouchFor(der: Bytes): boolean {
    try {
      const leaf = new X509Certificate(der);
      return [...this.#byBytes.values()].some((each) => leaf.checkIssued(each) && leaf.verify(each.publicKey));
    } catch {
      return false;
    }
  }
}
