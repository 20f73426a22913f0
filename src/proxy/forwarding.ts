import type { ForwardingConfig, TracingConfig } from "../config/snapshot.ts";
import { CidrSet } from "../core/cidr.ts";
import type { HeaderBlock, RequestHead } from "../core/head.ts";
import { addressBytes, formatAddress, isAddress } from "../core/ip.ts";
import type { IdSource, Rng } from "../core/rng.ts";
import { isAlias, kindOf, NAME } from "./forwarding-names.ts";
import type { ConnectionInfo } from "./stream.ts";
import { applyTrace } from "./trace-context.ts";

/** What the proxy knows about a request once its forwarding headers are read; one object per exchange, written in place. */
export class ForwardingResult {
  /** The caller's address behind the trusted hops. */
  clientAddress = "";
  requestId = "";
  /** 32 hex digits; "" when there is no trace. */
  traceId = "";
  sampled = false;
}

/** A listener's forwarding rules, ready for use. Built once per generation. */
export interface ForwardingPolicy {
  readonly config: ForwardingConfig;
  readonly trusted: CidrSet;
  readonly tracing: TracingConfig;
}

/** Throws an `Error` naming a range that is none (validated configuration has none). */
export function compileForwarding(
  config: ForwardingConfig,
  trustedProxies: readonly string[],
  tracing: TracingConfig,
): ForwardingPolicy {
  return { config, trusted: CidrSet.from(trustedProxies), tracing };
}

/** Where ids and chance come from. */
export interface ForwardingSources {
  readonly ids: IdSource;
  readonly rng: Rng;
}

/**
 * Reads and replaces the forwarding, request id, trace and mesh-internal headers of `head`, in place, and fills `result`.
 *
 * Who is believed: with `trustedProxies`, a peer inside them; without, any peer if `trustedHops` > 0. Of anybody else every
 * forwarding header is dropped, in all spellings. The caller's address is the right-most one in the chain of hops that is not
 * trusted (never the left-most: anybody can write there). Only the kind that is configured is read and passed on: a proxy that
 * maintains `Forwarded` passes a forged `X-Forwarded-For` through, and the other way round.
 */
export function applyForwarding(
  policy: ForwardingPolicy,
  connection: ConnectionInfo,
  head: RequestHead,
  sources: ForwardingSources,
  result: ForwardingResult,
): void {
  const { config } = policy;
  const { headers } = head;
  const peer = plainAddress(connection.remoteAddress);
  const believed = isTrustedHop(policy, peer, 0);
  const seen = dropForeign(headers, config, believed);
  result.clientAddress = peer;
  if (believed && (seen & SEEN_FORWARDING) !== 0) {
    result.clientAddress = findClient(policy, headers, peer);
    if (config.xForwarded) takeScheme(head);
  }
  if (config.xForwarded) writeXForwarded(head, peer, (seen & SEEN_FORWARDING) !== 0);
  if (config.forwarded) writeForwarded(head, peer);
  if (config.via !== undefined)
    headers.add("via", `${head.version === 11 ? "1.1" : head.version === 20 ? "2.0" : "1.0"} ${config.via}`);
  const theirs =
    believed && config.trustRequestId && config.requestIdHeader !== undefined ? headers.get(config.requestIdHeader) : undefined;
  result.requestId = theirs !== undefined && isRequestId(theirs) ? theirs : sources.ids.next();
  if (config.requestIdHeader !== undefined) headers.set(config.requestIdHeader, result.requestId);
  applyTrace(policy.tracing, headers, (seen & SEEN_TRACE) !== 0, sources, result);
}

/** Is hop number `hop` (0: our own peer, then from the right) a proxy of ours? */
function isTrustedHop(policy: ForwardingPolicy, address: string, hop: number): boolean {
  const { trustedHops } = policy.config;
  if (policy.trusted.size === 0) return hop < trustedHops;
  return (trustedHops === 0 || hop < trustedHops) && policy.trusted.contains(address);
}

// ---------------------------------------------------------------- what came in

const SEEN_FORWARDING = 1;
const SEEN_TRACE = 2;

/** Drops what may not pass and says what is left. */
function dropForeign(headers: HeaderBlock, config: ForwardingConfig, believed: boolean): number {
  const { names } = headers;
  const { requestIdHeader } = config;
  let seen = 0;
  // From the back, so that removing does not move what is still to be looked at.
  for (let i = names.length - 1; i >= 0; i--) {
    const name = names[i] as string;
    const kind = kindOf(name);
    if (kind === NAME.keep) {
      if (isAlias(name, requestIdHeader)) headers.removeAt(i);
    } else if (kind === NAME.trace) seen |= SEEN_TRACE;
    else if (kind === NAME.internal || !believed || !passesOn(name, config)) headers.removeAt(i);
    else seen |= SEEN_FORWARDING;
  }
  return seen;
}

/** Only the configured kind passes, even from those we believe. */
function passesOn(name: string, config: ForwardingConfig): boolean {
  return name === "forwarded" ? config.forwarded : config.xForwarded || !name.startsWith("x-forwarded");
}

const REQUEST_ID_MAX = 128;

/** Letters, digits and `-._~:/+=@`: nothing that could confuse a log, a shell or HTML. */
function isRequestId(value: string): boolean {
  if (value.length === 0 || value.length > REQUEST_ID_MAX) return false;
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    const lower = code | 0x20;
    if ((lower >= 0x61 && lower <= 0x7a) || (code >= 0x2b && code <= 0x3a && code !== 0x2c)) continue;
    if (code !== 0x5f && code !== 0x7e && code !== 0x3d && code !== 0x40) return false;
  }
  return true;
}

// ---------------------------------------------------------------- the chain of hops

/** Goes from our peer to the left as long as hops are trusted; the first that is not is the caller. */
function findClient(policy: ForwardingPolicy, headers: HeaderBlock, peer: string): string {
  const { xForwarded } = policy.config;
  const chain = headers
    .getAll(xForwarded ? "x-forwarded-for" : "forwarded")
    .join(",")
    .split(",");
  let client = peer;
  for (let hop = 1; hop <= chain.length; hop++) {
    const entry = chain[chain.length - hop] as string;
    const address = readHop(xForwarded ? entry : forParameter(entry));
    // `unknown`, an obfuscated name, rubbish: the proxy that wrote it is the last one that we know.
    if (address === "") break;
    client = address;
    if (!isTrustedHop(policy, address, hop)) break;
  }
  return client;
}

/** An address with or without port, brackets and quotes; "" when it is none. */
function readHop(entry: string): string {
  let text = entry.trim();
  if (text.startsWith("[")) {
    const end = text.indexOf("]");
    if (end < 0 || (end + 1 < text.length && !/^:\d{1,5}$/.test(text.slice(end + 1)))) return "";
    text = text.slice(1, end);
    if (!text.includes(":")) return "";
  } else if (text.includes(".") && text.indexOf(":") > 0 && text.indexOf(":") === text.lastIndexOf(":")) {
    if (!/:\d{1,5}$/.test(text)) return "";
    text = text.slice(0, text.indexOf(":"));
  }
  return isAddress(text) && !text.includes("%") ? plainAddress(text) : "";
}

/** `for` of one element of `Forwarded` (RFC 7239 §4); "" when it has none. */
function forParameter(element: string): string {
  for (const pair of element.split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).trim().toLowerCase() !== "for") continue;
    const value = pair.slice(equals + 1).trim();
    return value.startsWith('"') && value.endsWith('"') && value.length >= 2 ? value.slice(1, -1) : value;
  }
  return "";
}

/** One spelling per address: limits and logs key on it. IPv4 is unique already. */
function plainAddress(address: string): string {
  if (address.indexOf(":") < 0) return address;
  const bytes = addressBytes(address);
  return bytes === undefined ? address : formatAddress(bytes);
}

/** The scheme that a trusted proxy was asked with is the request's. */
function takeScheme(head: RequestHead): void {
  const { headers } = head;
  const proto = headers.get("x-forwarded-proto")?.toLowerCase();
  if (headers.count("x-forwarded-proto") === 1 && (proto === "http" || proto === "https")) head.scheme = proto;
  else headers.remove("x-forwarded-proto");
}

// ---------------------------------------------------------------- what goes out

function writeXForwarded(head: RequestHead, peer: string, hasOld: boolean): void {
  const { headers } = head;
  // Unix sockets have no address to tell.
  const own = peer === "" ? "unknown" : peer;
  if (!hasOld) {
    headers.add("x-forwarded-for", own);
    headers.add("x-forwarded-proto", head.scheme);
    headers.add("x-forwarded-host", head.authority);
    return;
  }
  const chain = headers.getAll("x-forwarded-for");
  chain.push(own);
  headers.set("x-forwarded-for", chain.join(", "));
  if (!headers.has("x-forwarded-proto")) headers.add("x-forwarded-proto", head.scheme);
  if (!headers.has("x-forwarded-host")) headers.add("x-forwarded-host", head.authority);
}

/** RFC 7239 §4: appended to what trusted hops said. */
function writeForwarded(head: RequestHead, peer: string): void {
  const { headers } = head;
  const node = peer === "" ? "unknown" : peer.includes(":") ? `"[${peer}]"` : peer;
  const host = /[^A-Za-z0-9._-]/.test(head.authority) ? `"${head.authority}"` : head.authority;
  const element = `for=${node};host=${host};proto=${head.scheme}`;
  const old = headers.getAll("forwarded");
  headers.set("forwarded", old.length === 0 ? element : `${old.join(", ")}, ${element}`);
}
