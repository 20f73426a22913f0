import { createPrivateKey, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import tls from "node:tls";
import type { ClientTls, ServerTls } from "./net.ts";
import { namesHost, tryAltNames } from "./x509.ts";

/**
 * Certificates as the TLS library wants them, made once per configuration and not per connection. Both adapters use
 * node:tls's `SecureContext`: on Bun its `context` is what the native sockets take, too.
 */

/** `SSL_OP_NO_TICKET`: no session is resumed without the peer's certificate being shown and checked again. */
export const NO_TICKET = 0x4000;

/** The contexts of one `ServerTls`; replaced as a whole when it changes. */
export class ServerContexts {
  readonly #exact = new Map<string, tls.SecureContext>();
  /** By what follows the asterisk: `.example.org`. */
  readonly #wildcards = new Map<string, tls.SecureContext>();
  /** For clients that name no host or an unknown one: the certificate for `*`, else the first. */
  readonly fallback: tls.SecureContext;
  /** The same as text. */
  readonly fallbackPem: { readonly cert: string; readonly key: string };

  /** Throws when a certificate or key cannot be read or they do not belong together, naming its hosts. */
  constructor(readonly settings: ServerTls) {
    let fallback: tls.SecureContext | undefined;
    let first: tls.SecureContext | undefined;
    const fallbackEntry = settings.certificates.find((entry) => entry.hosts.includes("*")) ?? settings.certificates[0];
    for (const entry of settings.certificates) {
      const context = makeServerContext(settings, entry.certificatePem, entry.keyPem, entry.hosts);
      first ??= context;
      for (const host of entry.hosts) {
        if (host === "*") fallback ??= context;
        else if (host.startsWith("*.")) keepFirst(this.#wildcards, host.slice(1), context);
        else keepFirst(this.#exact, host, context);
      }
    }
    const chosen = fallback ?? first;
    if (chosen === undefined || fallbackEntry === undefined) throw new Error("a TLS listener needs a certificate");
    this.fallback = chosen;
    this.fallbackPem = { cert: fallbackEntry.certificatePem, key: fallbackEntry.keyPem };
  }

  /** The context for a name of SNI (any case): exact, then wildcard of one label, then the fallback. */
  select(serverName: string): tls.SecureContext {
    const name = serverName.toLowerCase();
    const exact = this.#exact.get(name);
    if (exact !== undefined) return exact;
    const dot = name.indexOf(".");
    return (dot > 0 ? this.#wildcards.get(name.slice(dot)) : undefined) ?? this.fallback;
  }
}

function keepFirst<V>(map: Map<string, V>, key: string, value: V): void {
  if (!map.has(key)) map.set(key, value);
}

/**
 * What a listener offers in TLS 1.2 (Mozilla's "intermediate", version 5.7): forward secrecy and authenticated encryption only.
 * The runtimes' own defaults have CBC with SHA-1 in them, and key exchange by RSA. TLS 1.3 has none of those.
 */
export const SERVER_CIPHERS = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES256-GCM-SHA384",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-RSA-CHACHA20-POLY1305",
].join(":");

function makeServerContext(settings: ServerTls, cert: string, key: string, hosts: readonly string[]): tls.SecureContext {
  const asks = settings.clientAuth !== "none";
  if (asks && settings.clientCaPem === undefined) throw new Error("client certificates are asked for, but no CA is given");
  try {
    // Not every runtime looks whether the two belong together before the first handshake.
    if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key)))
      throw new Error("the key belongs to another certificate");
    // `requestCert` is not in Node's types: Bun prepares a context for it.
    return tls.createSecureContext({
      cert,
      key,
      minVersion: settings.minVersion,
      ciphers: SERVER_CIPHERS,
      ...(asks ? { ca: settings.clientCaPem, requestCert: true, rejectUnauthorized: settings.clientAuth === "required" } : {}),
      ...(asks ? { secureOptions: NO_TICKET } : {}),
    } as tls.SecureContextOptions);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`the certificate for ${hosts.join(", ")} cannot be used: ${reason}`, { cause: error });
  }
}

const clientContexts = new WeakMap<ClientTls, tls.SecureContext>();

/** The context of a `ClientTls`, kept as long as that object: reading the system's roots takes milliseconds. */
export function clientContext(settings: ClientTls): tls.SecureContext {
  let context = clientContexts.get(settings);
  if (context === undefined) {
    context = tls.createSecureContext({
      minVersion: settings.minVersion,
      ...(settings.caPem === undefined ? {} : { ca: settings.caPem }),
      ...(settings.certificatePem === undefined ? {} : { cert: settings.certificatePem }),
      ...(settings.keyPem === undefined ? {} : { key: settings.keyPem }),
    });
    clientContexts.set(settings, context);
  }
  return context;
}

/** The name for SNI: never an address (RFC 6066 section 3). */
export const sniOf = (settings: ClientTls): string => (isIP(settings.serverName) === 0 ? settings.serverName : "");

/** What an upstream's certificate must name; "" when only its chain counts. */
const requiredName = (settings: ClientTls): string => settings.verifyName ?? settings.serverName;

/**
 * Why the certificate is not that of the upstream; undefined when it is. The runtimes' own `checkServerIdentity` is not
 * asked: Deno's looks for names in a line of text, in which one name can pretend to be two (CVE-2021-44532).
 */
export function checkPeerName(settings: ClientTls, der: Uint8Array | undefined): Error | undefined {
  const name = requiredName(settings);
  if (name === "") return undefined;
  const names = der === undefined ? undefined : tryAltNames(der);
  if (names === undefined) return tlsError("the upstream showed no certificate that can be read", undefined);
  if (namesHost(names, name)) return undefined;
  const shown = [...names.dnsNames, ...names.addresses].join(", ");
  const error = new Error(
    `the upstream's certificate is for ${shown === "" ? "no host" : JSON.stringify(shown)}, not for ${name}`,
  );
  return Object.assign(error, { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
}

/** ALPN names as the wire has them: each after a byte with its length (RFC 7301 section 3.1). */
export function alpnWire(protocols: readonly string[]): Buffer {
  return Buffer.concat(protocols.map((name) => Buffer.from(`${String.fromCharCode(name.length)}${name}`, "latin1")));
}

/** Our first protocol that is among those offered; undefined for none (then the handshake fails with `no_application_protocol`). */
export function selectAlpn(preferred: readonly string[], offeredWire: Uint8Array): string | undefined {
  const offered = new Set<string>();
  for (let at = 0; at < offeredWire.length; ) {
    const length = offeredWire[at] ?? 0;
    offered.add(Buffer.from(offeredWire.subarray(at + 1, at + 1 + length)).toString("latin1"));
    at += 1 + length;
  }
  return preferred.find((name) => offered.has(name));
}

/** A TLS failure, for the log of the owner. Keeps the library's `code`. */
export function tlsError(reason: string, cause: unknown): Error {
  const code = typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : "ERR_TLS";
  const detail = cause instanceof Error ? `: ${cause.message}` : "";
  return Object.assign(new Error(`${reason}${detail}`, { cause }), { code });
}
