import type { ForwardingConfig, TracingConfig } from "../config/snapshot.ts";
import { CidrSet } from "../core/cidr.ts";
import { Failure } from "../core/failure.ts";
import type { HeaderBlock, RequestHead } from "../core/head.ts";
import { addressBytes, formatAddress, isAddress } from "../core/ip.ts";
import type { IdSource, Rng } from "../core/rng.ts";
import { normaliseAuthority } from "./codec/host.ts";
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
  /** Of our own span, when one is exported; else "". */
  spanId = "";
  /** The caller's span, when ours is exported and has one. */
  parentSpanId = "";
}

/** A listener's forwarding rules, ready for use. Built once per generation. */
export interface ForwardingPolicy {
  readonly config: ForwardingConfig;
  readonly trusted: CidrSet;
  readonly tracing: TracingConfig;
  /** Headers that only those we believe may send; undefined: none. */
  readonly trustedHeaders: ReadonlySet<string> | undefined;
  /** These and the header of the request id: no other spelling of them passes. */
  readonly owned: ReadonlySet<string>;
}

/** Throws an `Error` naming a range that is none (validated configuration has none). */
export function compileForwarding(
  config: ForwardingConfig,
  trustedProxies: readonly string[],
  tracing: TracingConfig,
): ForwardingPolicy {
  const { trustedHeaders, requestIdHeader } = config;
  return {
    config,
    trusted: CidrSet.from(trustedProxies),
    tracing,
    trustedHeaders: trustedHeaders.length === 0 ? undefined : new Set(trustedHeaders),
    owned: new Set(requestIdHeader === undefined ? trustedHeaders : [...trustedHeaders, requestIdHeader]),
  };
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
 * forwarding header is dropped, in all spellings. Of those we believe only the kind that they write themselves (`read`) and the
 * headers that configuration names (`trustedHeaders`) count: whatever else they pass on is what a stranger sent them. The
 * caller's address is the right-most one in the chain of hops that is not trusted (never the left-most: anybody can write there).
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
  const seen = dropForeign(headers, policy, believed);
  if ((seen & SEEN_FORWARDING) !== 0) {
    const told = readTold(policy, head, peer);
    result.clientAddress = told.chain[0] ?? peer;
    if (told.scheme !== undefined) head.scheme = told.scheme;
    if (config.xForwarded) writeXForwarded(head, peer, told);
    else for (const name of X_FORWARDED) headers.remove(name);
    if (config.forwarded) writeForwarded(head, peer, told);
    else headers.remove("forwarded");
  } else {
    result.clientAddress = peer;
    if (config.xForwarded) writeXForwarded(head, peer, undefined);
    if (config.forwarded) writeForwarded(head, peer, undefined);
  }
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

/** The fields of the kind `x-forwarded` that are understood; all other `X-Forwarded-*` are not. */
const X_FORWARDED = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] as const;

/** Drops what may not pass and says what is left. */
function dropForeign(headers: HeaderBlock, policy: ForwardingPolicy, believed: boolean): number {
  const { names } = headers;
  const { config, trustedHeaders, owned } = policy;
  let seen = 0;
  // From the back, so that removing does not move what is still to be looked at.
  for (let i = names.length - 1; i >= 0; i--) {
    const name = names[i] as string;
    const kind = kindOf(name);
    if (trustedHeaders?.has(name) === true) {
      if (!believed) headers.removeAt(i);
    } else if (kind === NAME.keep) {
      if (isAlias(name, owned)) headers.removeAt(i);
    } else if (kind === NAME.trace) seen |= SEEN_TRACE;
    else if (kind === NAME.internal || !believed || !isRead(name, config)) headers.removeAt(i);
    else seen |= SEEN_FORWARDING;
  }
  return seen;
}

/** Of the kind that the hops in front of us write. */
function isRead(name: string, { read }: ForwardingConfig): boolean {
  if (read === "forwarded") return name === "forwarded";
  return name === "x-forwarded-for" || name === "x-forwarded-proto" || name === "x-forwarded-host";
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

/** What those that we believe said. */
interface Told {
  /** From the caller to the hop in front of our peer; empty: they said nothing that can be used. */
  readonly chain: readonly string[];
  /** What the caller asked with; undefined: not said, or nonsense. */
  readonly scheme: "http" | "https" | undefined;
  readonly host: string | undefined;
}

function readTold(policy: ForwardingPolicy, head: RequestHead, peer: string): Told {
  const { headers } = head;
  if (policy.config.read === "x-forwarded") {
    const scheme = schemeOf(only(headers, "x-forwarded-proto"));
    const host = hostOf(only(headers, "x-forwarded-host"), scheme ?? head.scheme);
    return { chain: readChain(policy, splitList(headers, "x-forwarded-for"), readHop), scheme, host };
  }
  const elements = splitList(headers, "forwarded");
  const chain = readChain(policy, elements, (element) => readHop(parameterOf(element, "for")));
  // The hop that saw the caller also saw what it asked with.
  const element = chain.length === 0 || peer === "" ? "" : (elements[elements.length - chain.length] as string);
  const scheme = schemeOf(parameterOf(element, "proto"));
  return { chain, scheme, host: hostOf(parameterOf(element, "host"), scheme ?? head.scheme) };
}

const splitList = (headers: HeaderBlock, name: string): string[] => {
  const values = headers.getAll(name);
  return values.length === 0 ? [] : values.join(",").split(",");
};

/** The value of a field that may be there once only; "": it is not. */
const only = (headers: HeaderBlock, name: string): string => (headers.count(name) === 1 ? (headers.get(name) ?? "") : "");

function schemeOf(text: string): Told["scheme"] {
  const scheme = text.toLowerCase();
  return scheme === "http" || scheme === "https" ? scheme : undefined;
}

function hostOf(text: string, scheme: string): string | undefined {
  if (text === "") return undefined;
  const authority = normaliseAuthority(text, scheme);
  return authority instanceof Failure ? undefined : authority;
}

/** Goes from our peer to the left as long as hops are trusted; the first that is not is the caller. */
function readChain(policy: ForwardingPolicy, entries: readonly string[], read: (entry: string) => string): string[] {
  const chain: string[] = [];
  for (let hop = 1; hop <= entries.length; hop++) {
    const address = read(entries[entries.length - hop] as string);
    // `unknown`, an obfuscated name, rubbish: the proxy that wrote it is the last one that we know.
    if (address === "") break;
    chain.unshift(address);
    if (!isTrustedHop(policy, address, hop)) break;
  }
  return chain;
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

/** A parameter of one element of `Forwarded` (RFC 7239 §4); "" when it has none. */
function parameterOf(element: string, name: string): string {
  for (const pair of element.split(";")) {
    const equals = pair.indexOf("=");
    if (equals < 0 || pair.slice(0, equals).trim().toLowerCase() !== name) continue;
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

// ---------------------------------------------------------------- what goes out

/** Behind what trusted hops said, when they said it; what they said in the other kind is said anew. */
function writeXForwarded(head: RequestHead, peer: string, told: Told | undefined): void {
  const { headers } = head;
  // Unix sockets have no address to tell.
  const own = peer === "" ? "unknown" : peer;
  if (told === undefined) {
    headers.add("x-forwarded-for", own);
    headers.add("x-forwarded-proto", head.scheme);
    if (head.authority !== "") headers.add("x-forwarded-host", head.authority);
    return;
  }
  const old = headers.getAll("x-forwarded-for");
  headers.set("x-forwarded-for", [...(old.length > 0 ? old : headers.has("forwarded") ? told.chain : []), own].join(", "));
  headers.set("x-forwarded-proto", told.scheme ?? head.scheme);
  const host = told.host ?? head.authority;
  if (host === "") headers.remove("x-forwarded-host");
  else headers.set("x-forwarded-host", host);
}

/** RFC 7239 §4, §7.4. */
function writeForwarded(head: RequestHead, peer: string, told: Told | undefined): void {
  const { headers } = head;
  const host = head.authority === "" ? "" : `;host=${quoted(head.authority)}`;
  const element = `for=${peer === "" ? "unknown" : nodeOf(peer)}${host};proto=${head.scheme}`;
  const old = headers.getAll("forwarded");
  const before = old.length > 0 || told === undefined ? old : told.chain.map((address) => `for=${nodeOf(address)}`);
  headers.set("forwarded", [...before, element].join(", "));
}

const nodeOf = (address: string): string => (address.includes(":") ? `"[${address}]"` : address);
const quoted = (text: string): string => (/[^A-Za-z0-9._-]/.test(text) ? `"${text}"` : text);
