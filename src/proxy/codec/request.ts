import { Failure } from "../../core/failure.ts";
import type { HttpVersion, RequestHead } from "../../core/head.ts";
import { CODEC_LIMITS } from "../../core/limits.ts";
import { isAll, isText, METHOD, SP, TOKEN } from "./chars.ts";
import type { HeadFields } from "./fields.ts";
import { checkCoding } from "./framing.ts";
import { normaliseAuthority } from "./host.ts";
import { KnownTexts } from "./known.ts";
import { findNormalPathEnd, isQuery, normalisePath } from "./path.ts";
import type { LineScanner } from "./scan.ts";
import type { Http1Options } from "./types.ts";

const QUESTION = 0x3f;
const SLASH = 0x2f;

/** A request line's parts, as positions (`pathEnd`: of the first `?`, else of the target's end); reused, so that reading one allocates nothing. */
export const requestLine = { methodEnd: 0, pathEnd: 0, targetEnd: 0, version: 11 as HttpVersion };

/** `method SP target SP HTTP/1.x`, with exactly one space each (RFC 9112 §3). */
export function readRequestLine(bytes: Uint8Array, end: number): Failure | undefined {
  let at = 0;
  while (at < end && METHOD[bytes[at] as number] === 1) at++;
  if (at === 0 || bytes[at] !== SP) return bad("malformed method");
  if (at > CODEC_LIMITS.methodBytes) return bad("method too long");
  requestLine.methodEnd = at++;
  const start = at;
  while (at < end && bytes[at] !== SP && bytes[at] !== QUESTION) at++;
  requestLine.pathEnd = at;
  while (at < end && bytes[at] !== SP) at++;
  if (at === start || at === end) return bad("no target or no version");
  requestLine.targetEnd = at;
  const version = readVersion(bytes, at + 1, end);
  if (version === 0) return bad("malformed version");
  // The preface of HTTP/2 (RFC 9113 §3.4) comes here as well.
  if (version !== 11 && version !== 10) return new Failure("version_not_supported", "");
  requestLine.version = version;
  return undefined;
}

/** Of a line that is too long: the target is, unless no method ends where it has to. */
export function requestLineTooLong(bytes: Uint8Array, end: number): Failure {
  const stop = Math.min(end, CODEC_LIMITS.methodBytes + 1);
  for (let at = 0; at < stop; at++) if (bytes[at] === SP) return new Failure("uri_too_long", "");
  return bad("method too long");
}

const bad = (detail: string): Failure => new Failure("bad_request_line", detail);
const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39;

/** `HTTP/d.d` and nothing else between the positions, as `major * 10 + minor`; 0: malformed. */
export function readVersion(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 8) return 0;
  if (bytes[start] !== 0x48 || bytes[start + 1] !== 0x54) return 0;
  if (bytes[start + 2] !== 0x54 || bytes[start + 3] !== 0x50) return 0;
  if (bytes[start + 4] !== 0x2f || bytes[start + 6] !== 0x2e) return 0;
  if (!isDigit(bytes[start + 5]) || !isDigit(bytes[start + 7])) return 0;
  const version = ((bytes[start + 5] as number) - 0x30) * 10 + (bytes[start + 7] as number) - 0x30;
  return version === 0 ? 1 : version;
}

const COMMON_METHODS = ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "PATCH"];

/** The first `end` bytes; no new text for common methods. */
function readMethod(line: Buffer, end: number): string {
  for (let i = 0; i < COMMON_METHODS.length; i++) {
    const common = COMMON_METHODS[i] as string;
    if (common.length === end && isText(line, 0, end, common)) return common;
  }
  return line.latin1Slice(0, end);
}

/** Remembers the last Host of a connection: it is nearly always the same. */
export class HostCache {
  #raw: string | undefined = undefined;
  #authority = "";

  normalise(raw: string, scheme: string): string | Failure {
    if (raw === this.#raw) return this.#authority;
    const authority = normaliseAuthority(raw, scheme);
    if (authority instanceof Failure) return authority;
    this.#raw = raw;
    this.#authority = authority;
    return authority;
  }
}

/** Makes the head of a request whose line and fields have been read. `scanner`: begins with the request line. */
export function makeRequestHead(
  scanner: LineScanner,
  fields: HeadFields,
  options: Http1Options,
  hosts: HostCache,
): RequestHead | Failure {
  const { methodEnd, version } = requestLine;
  const head: RequestHead = {
    method: readMethod(scanner.bytes, methodEnd),
    scheme: options.scheme,
    authority: "",
    path: "",
    query: undefined,
    version,
    upgrade: undefined,
    headers: fields.block,
  };
  const failure =
    takeAuthority(head, fields, hosts) ??
    takeTarget(head, scanner, options, hosts) ??
    checkRequestFraming(head, fields, options) ??
    takeUpgrade(head, fields) ??
    checkExpect(head, fields);
  return failure ?? head;
}

/** Exactly one valid Host; HTTP/1.0 may have none (RFC 9112 §3.2). */
function takeAuthority(head: RequestHead, fields: HeadFields, hosts: HostCache): Failure | undefined {
  if (fields.hosts > 1) return new Failure("bad_host", "two Host");
  if (fields.hosts === 0) return head.version === 10 ? undefined : new Failure("bad_host", "no Host");
  const authority = hosts.normalise(fields.host, head.scheme);
  if (authority instanceof Failure) return authority;
  head.authority = authority;
  return undefined;
}

/** Paths that came before. Not queries: they may hold credentials. */
const paths = new KnownTexts();

/** The four forms of a target (RFC 9112 §3.2). */
function takeTarget(
  head: RequestHead,
  { bytes: line, view }: LineScanner,
  options: Http1Options,
  hosts: HostCache,
): Failure | undefined {
  const start = requestLine.methodEnd + 1;
  const { pathEnd, targetEnd } = requestLine;
  if (head.method !== "CONNECT" && line[start] === SLASH) {
    // The common case, without a text for the target as a whole.
    const path = paths.read(line, view, start, pathEnd);
    const query = pathEnd < targetEnd ? line.latin1Slice(pathEnd + 1, targetEnd) : undefined;
    if (findNormalPathEnd(path, 0, path.length) > 0 && (query === undefined || isQuery(query, 0, query.length))) {
      head.path = path;
      head.query = query;
      return undefined;
    }
  }
  const target = line.latin1Slice(start, targetEnd);
  if (head.method === "CONNECT") return takeConnectTarget(head, target);
  if (target === "*") {
    if (head.method !== "OPTIONS") return bad("asterisk-form is for OPTIONS");
    head.path = "*";
    return undefined;
  }
  let origin = target;
  if (target.charCodeAt(0) !== 0x2f) {
    // Absolute-form wins over Host (RFC 9112 §3.2.2), which was valid all the same: everything behind us sees one authority.
    const scheme = `${head.scheme}://`;
    if (target.substring(0, scheme.length).toLowerCase() !== scheme)
      return new Failure("bad_path", "neither a path nor our scheme");
    const authorityEnd = endOfAuthority(target, scheme.length);
    const authority = hosts.normalise(target.substring(scheme.length, authorityEnd), head.scheme);
    if (authority instanceof Failure) return authority;
    head.authority = authority;
    origin = target.substring(authorityEnd);
    if (origin === "" && head.method === "OPTIONS") {
      head.path = "*";
      return undefined;
    }
    if (origin.charCodeAt(0) !== 0x2f) origin = `/${origin}`;
  }
  const normal = normalisePath(origin, options.paths);
  if (normal instanceof Failure) return normal;
  head.path = normal.path;
  head.query = normal.query;
  return undefined;
}

function endOfAuthority(target: string, start: number): number {
  let at = start;
  while (at < target.length && target.charCodeAt(at) !== 0x2f && target.charCodeAt(at) !== 0x3f) at++;
  return at;
}

/** authority-form: host and port, both there. The default port stays: it says where to connect. */
function takeConnectTarget(head: RequestHead, target: string): Failure | undefined {
  const authority = normaliseAuthority(target, "");
  if (authority instanceof Failure) return authority;
  if (!/:\d+$/.test(authority)) return new Failure("bad_host", "CONNECT needs a port");
  head.authority = authority;
  return undefined;
}

function checkRequestFraming(head: RequestHead, fields: HeadFields, options: Http1Options): Failure | undefined {
  if (fields.codings > 0) {
    const failure = checkCoding(fields, head.version);
    if (failure !== undefined) return failure;
  }
  if (fields.contentLength > options.limits.bodyBytes) return new Failure("body_too_large", "declared length");
  if (head.method === "CONNECT" && hasBody(fields)) return new Failure("bad_framing", "CONNECT with a body");
  if (head.method === "TRACE" && hasBody(fields)) return new Failure("bad_framing", "TRACE with a body");
  return undefined;
}

/** The request has a body that is not empty by declaration. */
export const hasBody = (fields: HeadFields): boolean => fields.codings > 0 || fields.contentLength > 0;

/**
 * `Connection: upgrade` with one `Upgrade: protocol` in HTTP/1.1 is a wish to switch; anything less is no wish (RFC 9110 §7.8)
 * and h2c is obsolete (RFC 9113 §3.1): ignored. A list, a body, or WebSocket without GET could be read in two ways: refused.
 */
function takeUpgrade(head: RequestHead, fields: HeadFields): Failure | undefined {
  if (!fields.upgradeOption || fields.upgrades === 0 || head.version === 10) return undefined;
  const upgrade = fields.upgrade.toLowerCase();
  if (fields.upgrades > 1) return new Failure("bad_upgrade", "two Upgrade");
  if (!isAll(upgrade.replace("/", ""), TOKEN)) return new Failure("bad_upgrade", "malformed Upgrade");
  if (upgrade === "h2c") return undefined;
  if (hasBody(fields)) return new Failure("bad_upgrade", "upgrade with a body");
  if (upgrade === "websocket" && head.method !== "GET") return new Failure("bad_upgrade", "WebSocket without GET");
  head.upgrade = upgrade;
  return undefined;
}

/** An invitation is asked for only by HTTP/1.1 with a body to come (RFC 9110 §10.1.1): elsewhere the field means nothing and goes. */
function checkExpect(head: RequestHead, fields: HeadFields): Failure | undefined {
  if (fields.expects === 0) return undefined;
  if (fields.expects > 1) return new Failure("expectation_failed", "two Expect");
  if (fields.expect.toLowerCase() !== "100-continue") return new Failure("expectation_failed", "unknown expectation");
  if (head.version === 10 || !hasBody(fields)) head.headers.remove("expect");
  return undefined;
}
