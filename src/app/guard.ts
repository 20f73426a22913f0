import { createHash, timingSafeEqual } from "node:crypto";

/**
 * Who may use a local HTTP interface (class 44: admin exposure, CSRF and DNS rebinding on local admin). On loopback the browser
 * of the same machine is the danger: the Host must be a loopback name (rebinding) and an Origin must be our own (CSRF). On any
 * other address a token is needed.
 */
export interface GuardOptions {
  /** The address that is listened on. */
  readonly host: string;
  /** Bearer token; always checked when given, required when `host` is not loopback. */
  readonly token: string | undefined;
}

/** `undefined`: let it in. */
export interface Refusal {
  readonly status: 401 | 403 | 421;
  readonly message: string;
}

export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  return bare === "localhost" || bare === "::1" || /^127(\.\d{1,3}){3}$/.test(bare);
}

/** Throws an `Error` that says what to do when the address would be open to everybody. */
export function assertGuarded(options: GuardOptions, flag: string): void {
  if (isLoopback(options.host) || (options.token ?? "") !== "") return;
  throw new Error(`${options.host} can be reached from other machines: set a token with ${flag}, or listen on 127.0.0.1`);
}

export function checkAccess(headers: Headers, options: GuardOptions): Refusal | undefined {
  const host = headers.get("host") ?? "";
  if (options.token === undefined && !isLoopback(stripPort(host)))
    return { status: 421, message: "The Host header does not name this machine's loopback address." };
  const origin = headers.get("origin");
  if (origin !== null && origin !== `http://${host}` && origin !== `https://${host}`)
    return { status: 403, message: "Requests from other origins are refused." };
  const site = headers.get("sec-fetch-site");
  if (site === "cross-site" || site === "same-site") return { status: 403, message: "Requests from other sites are refused." };
  if (options.token !== undefined && !hasToken(headers, options.token))
    return { status: 401, message: "A bearer token is needed: Authorization: Bearer …" };
  return undefined;
}

function stripPort(authority: string): string {
  const bracket = authority.indexOf("]");
  if (authority.startsWith("[") && bracket > 0) return authority.slice(0, bracket + 1);
  const colon = authority.indexOf(":");
  return colon < 0 ? authority : authority.slice(0, colon);
}

function hasToken(headers: Headers, token: string): boolean {
  const given = headers.get("authorization") ?? "";
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(given.replace(/^bearer /i, "Bearer ")), hash(`Bearer ${token}`));
}
