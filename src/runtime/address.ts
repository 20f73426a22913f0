import type { SocketAddress } from "./net.ts";

/** `127.0.0.1:80`, `[::1]:80`, or the path of a Unix socket. */
export function formatAddress(address: SocketAddress): string {
  if (address.kind === "unix") return address.path;
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/**
 * An address as the kernel tells it, made canonical: an IPv4 peer of a dual-stack listener shows as `::ffff:192.0.2.1`
 * (RFC 4291 section 2.5.5.2), and policies on source ranges must not see two spellings of one peer.
 */
export function canonicalIp(address: string | undefined): string {
  if (address === undefined) return "";
  return address.startsWith("::ffff:") && address.includes(".") ? address.slice(7) : address;
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "is in use",
  EADDRNOTAVAIL: "is not an address of this machine",
  EACCES: "needs more privileges",
  EPERM: "needs more privileges",
  // What Deno says.
  EINVAL: "is not an address of this machine",
  ENOENT: "is in a folder that does not exist",
  ENOTFOUND: "is a name that does not resolve",
  ENOTDIR: "is in a folder that does not exist",
  ENAMETOOLONG: "is a path that is too long for a socket",
  EMFILE: "cannot be opened: too many open files",
};

/** Why it was not possible to listen, for people: "port 8080 on 0.0.0.0 is in use". Keeps the system's `code`. */
export function listenError(address: SocketAddress, cause: unknown): Error {
  const code = codeOf(cause);
  const place = address.kind === "unix" ? `socket ${address.path}` : `port ${address.port} on ${address.host}`;
  const reason = REASONS[code] ?? `cannot be listened on: ${cause instanceof Error ? cause.message : String(cause)}`;
  return Object.assign(new Error(`${place} ${reason}`, { cause }), { code });
}

const CONNECT_REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "name does not resolve",
  EAI_AGAIN: "name does not resolve",
  DNS_ENOTFOUND: "name does not resolve",
  ENOENT: "no such socket",
  ETIMEDOUT: "timed out",
  EHOSTUNREACH: "host unreachable",
  ENETUNREACH: "network unreachable",
  ECONNRESET: "connection reset",
};

/** Why it was not possible to connect: "connect to 127.0.0.1:1: connection refused". Keeps the system's `code`. */
export function connectError(address: SocketAddress, cause: unknown): Error {
  const code = codeOf(cause);
  const reason = CONNECT_REASONS[code] ?? (cause instanceof Error ? cause.message : String(cause));
  return Object.assign(new Error(`connect to ${formatAddress(address)}: ${reason}`, { cause }), { code });
}

/** The `code` of a system or TLS error; "" for what has none. */
export function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}
