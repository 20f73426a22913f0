import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import type { IssuePath } from "../parse.ts";
import type { Resource } from "../schema/index.ts";
import { readHost } from "../schema/names.ts";
import { Refusal } from "../schema/text.ts";
import type { FileOrInline } from "../schema/tls.ts";
import type { CompileContext } from "./context.ts";

const BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]*)-----END \1-----/g;

/** The blocks of a PEM text in one form: 64 columns, line feeds, nothing between them. */
function canonicalBlocks(pem: string): { label: string; pem: string }[] {
  return [...pem.matchAll(BLOCK)].map((match) => {
    const label = match[1] as string;
    const body = (match[2] as string).replace(/\s+/g, "").replace(/.{64}(?=.)/g, "$&\n");
    return { label, pem: `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n` };
  });
}

export interface ReadCertificates {
  readonly pem: string;
  /** Leaf first. */
  readonly certificates: readonly X509Certificate[];
}

/** A chain or a bundle of CAs; undefined (and an issue) when it is none. Warns about certificates that are not valid now. */
export function readCertificates(
  context: CompileContext,
  resource: Resource,
  source: FileOrInline,
  path: IssuePath,
): ReadCertificates | undefined {
  const text = context.readText(resource, source, path);
  if (text === undefined) return undefined;
  const refuse = (message: string) => {
    context.report(resource, path, "bad_certificate", message, "PEM: -----BEGIN CERTIFICATE-----");
    return undefined;
  };
  const blocks = canonicalBlocks(text);
  if (blocks.length === 0) return refuse("There is no certificate in PEM.");
  const stray = blocks.find((block) => block.label !== "CERTIFICATE");
  if (stray !== undefined) return refuse(`There is a ${stray.label} among the certificates.`);
  const certificates: X509Certificate[] = [];
  for (const block of blocks) {
    try {
      certificates.push(new X509Certificate(block.pem));
    } catch {
      return refuse(`Certificate ${certificates.length + 1} is malformed.`);
    }
  }
  checkValidity(context, resource, certificates, path);
  return { pem: blocks.map((block) => block.pem).join(""), certificates };
}

function checkValidity(
  context: CompileContext,
  resource: Resource,
  certificates: readonly X509Certificate[],
  path: IssuePath,
): void {
  const { nowMs } = context.options;
  if (nowMs === undefined) return;
  for (const each of certificates) {
    const ended = Date.parse(each.validTo) < nowMs;
    if (!ended && Date.parse(each.validFrom) <= nowMs) continue;
    const message = `The certificate ${each.subject.split("\n").at(-1)} ${ended ? `expired ${each.validTo}` : `is not valid before ${each.validFrom}`}.`;
    context.warn(resource, path, "certificate_expired", message);
  }
}

/** A certificate chain with its private key, checked to belong together. */
export function readPair(
  context: CompileContext,
  resource: Resource,
  pair: { readonly certificate: FileOrInline; readonly key: FileOrInline },
  path: IssuePath,
): { certificatePem: string; keyPem: string; hosts: string[] } | undefined {
  const chain = readCertificates(context, resource, pair.certificate, [...path, "certificate"]);
  const keyText = context.readText(resource, pair.key, [...path, "key"]);
  if (keyText === undefined) return undefined;
  const key = readPrivateKey(context, resource, keyText, [...path, "key"]);
  const leaf = chain?.certificates[0];
  if (chain === undefined || leaf === undefined || key === undefined) return undefined;
  if (!belongTogether(leaf, key.key)) {
    const message = "The private key does not belong to the first certificate.";
    context.report(resource, [...path, "key"], "certificate_mismatch", message, "the leaf comes first");
    return undefined;
  }
  return { certificatePem: chain.pem, keyPem: key.pem, hosts: dnsNamesOf(leaf) };
}

function readPrivateKey(
  context: CompileContext,
  resource: Resource,
  text: string,
  path: IssuePath,
): { pem: string; key: KeyObject } | undefined {
  const refuse = (message: string, hint = "") => {
    context.report(resource, path, "bad_key", message, hint);
    return undefined;
  };
  const blocks = canonicalBlocks(text).filter((block) => block.label.endsWith("PRIVATE KEY"));
  const block = blocks[0];
  if (block === undefined || blocks.length > 1 || block.label.startsWith("ENCRYPTED") || /^Proc-Type:.*ENCRYPTED/m.test(text)) {
    const encrypted = text.includes("ENCRYPTED");
    return refuse(
      encrypted ? "The private key is encrypted." : "There is not one private key in PEM.",
      "PKCS#8, PKCS#1 or SEC1, not encrypted",
    );
  }
  try {
    return { pem: block.pem, key: createPrivateKey(block.pem) };
  } catch {
    return refuse("The private key is malformed.");
  }
}

function belongTogether(certificate: X509Certificate, key: KeyObject): boolean {
  const ofKey = createPublicKey(key).export({ type: "spki", format: "der" });
  return ofKey.equals(certificate.publicKey.export({ type: "spki", format: "der" }));
}

/** `DNS:` names of a certificate that are hosts, lower case. */
function dnsNamesOf(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? "").split(", ").flatMap((entry) => {
    const host = entry.startsWith("DNS:") ? readHost(entry.slice(4), true) : undefined;
    return host === undefined || host instanceof Refusal ? [] : [host];
  });
}
