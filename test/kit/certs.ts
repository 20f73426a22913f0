/**
 * Certificates for tests: authorities, servers (also expired or not yet valid), clients. ECDSA P-256, made once per
 * process. Works on every runtime.
 */
import "./reflect.ts";
import { webcrypto } from "node:crypto";
import type { JsonGeneralNames, X509Certificate } from "@peculiar/x509";

// Not imported statically: Bun evaluates CommonJS packages first, before what they need is there.
const x509 = await import("@peculiar/x509");

const crypto = webcrypto as unknown as Crypto;
x509.cryptoProvider.set(crypto);

const KEY_ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;

/** A certificate and its key, PEM. */
export interface TestCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly der: Uint8Array;
}

/** An authority: signs, and is trusted by who has its `certificatePem`. */
export interface TestAuthority extends TestCertificate {
  issue(options: IssueOptions): Promise<TestCertificate>;
}

export interface IssueOptions {
  readonly commonName?: string;
  readonly dns?: readonly string[];
  readonly ip?: readonly string[];
  readonly uri?: readonly string[];
  /** Default `valid`: from yesterday for 30 days. */
  readonly validity?: "valid" | "expired" | "future";
  /** What it may be used for; default both. */
  readonly usage?: "server" | "client" | "both";
}

const authorities = new Map<string, Promise<TestAuthority>>();
const issued = new Map<string, Promise<TestCertificate>>();

/** The authority of that name, made on first use. */
export function testAuthority(name = "Test CA"): Promise<TestAuthority> {
  return once(authorities, name, () => makeAuthority(name));
}

function once<V>(cache: Map<string, Promise<V>>, key: string, make: () => Promise<V>): Promise<V> {
  let value = cache.get(key);
  if (value === undefined) {
    value = make();
    cache.set(key, value);
  }
  return value;
}

async function makeAuthority(name: string): Promise<TestAuthority> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: randomSerial(),
    name: `CN=${name}`,
    ...period("valid"),
    signingAlgorithm: KEY_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
    ],
  });
  return {
    ...(await toPem(certificate, keys.privateKey)),
    issue: (options) => once(issued, `${name} ${JSON.stringify(options)}`, () => issue(certificate, keys.privateKey, options)),
  };
}

async function issue(authority: X509Certificate, signingKey: CryptoKey, options: IssueOptions): Promise<TestCertificate> {
  const keys = await crypto.subtle.generateKey(KEY_ALGORITHM, true, ["sign", "verify"]);
  const names: JsonGeneralNames = [
    ...(options.dns ?? []).map((value) => ({ type: "dns" as const, value })),
    ...(options.ip ?? []).map((value) => ({ type: "ip" as const, value })),
    ...(options.uri ?? []).map((value) => ({ type: "url" as const, value })),
  ];
  const usage = options.usage ?? "both";
  const usages = [
    ...(usage === "client" ? [] : [x509.ExtendedKeyUsage.serverAuth]),
    ...(usage === "server" ? [] : [x509.ExtendedKeyUsage.clientAuth]),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: randomSerial(),
    subject: `CN=${options.commonName ?? options.dns?.[0] ?? "test"}`,
    issuer: authority.subject,
    ...period(options.validity ?? "valid"),
    signingAlgorithm: KEY_ALGORITHM,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension(usages),
      ...(names.length > 0 ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      await x509.AuthorityKeyIdentifierExtension.create(authority, false, crypto),
    ],
  });
  return toPem(certificate, keys.privateKey);
}

function period(validity: "valid" | "expired" | "future"): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  const [from, to] = { valid: [-1, 30], expired: [-10, -1], future: [1, 30] }[validity] as [number, number];
  return { notBefore: new Date(now + from * DAY_MS), notAfter: new Date(now + to * DAY_MS) };
}

function randomSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  bytes[0] = 1;
  return Buffer.from(bytes).toString("hex");
}

async function toPem(certificate: X509Certificate, key: CryptoKey): Promise<TestCertificate> {
  const pkcs8 = await crypto.subtle.exportKey("pkcs8", key);
  return {
    certificatePem: `${certificate.toString("pem")}\n`,
    keyPem: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n`,
    der: new Uint8Array(certificate.rawData),
  };
}
