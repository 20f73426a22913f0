import type { Clock } from "../../core/clock.ts";
import type { HeaderBlock } from "../../core/head.ts";
import type { ExchangeRecord } from "./record.ts";
import { isSecretHeader, redactQuery } from "./redact.ts";

/** Escaped texts of configuration (names of routes, services, endpoints) that are kept for the next line. */
const CACHE_MAX = 4096;
/** Longer values are cut: one exchange must not fill the log. Characters. */
const VALUE_MAX = 2048;
const HOUR_MS = 3_600_000;

/**
 * Formats the line of one exchange. The fields and their order are a contract (docs/operations.md):
 * time, id, trace, client, listener, method, authority, path, query, protocol, status, flag, failure, detail, answered_by,
 * route, rule, service, subset, endpoint, attempts, request_bytes, response_bytes, duration_us, first_byte_us, tls, sni, peer,
 * tunnel, request_headers, response_headers, notes. Texts that are empty are left out, as is what only some exchanges have
 * (flag, failure and detail of a failure, tls and behind).
 *
 * Every text goes through `JSON.stringify`, so that nothing a peer sent can end a field or a line (class 43); it is native and
 * as fast as looking at the characters ourselves (bench/observe.ts).
 */
export class AccessLogLine {
  readonly #clock: Clock;
  readonly #requestHeaders: readonly string[];
  readonly #responseHeaders: readonly string[];
  readonly #listeners = new Map<string, string>();
  readonly #methods = new Map<string, string>();
  readonly #endpoints = new Map<string, string>();
  readonly #targets = new Map<string, Target>();
  #offsetMs: number;
  #offsetUntilMs = 0;
  #wallMs = -1;
  #startText = "";
  #second = -1;
  #secondText = "";

  /** Header names in lower case; those of credentials are left out. */
  constructor(clock: Clock, requestHeaders: readonly string[], responseHeaders: readonly string[]) {
    this.#clock = clock;
    this.#requestHeaders = requestHeaders.map((name) => name.toLowerCase()).filter((name) => !isSecretHeader(name));
    this.#responseHeaders = responseHeaders.map((name) => name.toLowerCase()).filter((name) => !isSecretHeader(name));
    this.#offsetMs = clock.wallMs() - clock.nowMs();
  }

  /** With its newline. */
  format(record: ExchangeRecord): string {
    const { request, failure, connection } = record;
    const path = record.originalPath;
    const mark = path.indexOf("?");
    const line =
      `${this.#start(record.endMs)}${quote(record.requestId)}${record.traceId === "" ? "" : `,"trace":${quote(record.traceId)}`}` +
      `,"client":${quote(record.clientAddress)},"listener":${cached(this.#listeners, connection.listener)},"method":${cached(this.#methods, request === undefined ? "" : request.method)}` +
      `,"authority":${bounded(record.originalAuthority)}` +
      `,"path":${bounded(mark < 0 ? path : path.slice(0, mark))}${queryOf(record, path, mark)}` +
      `,"protocol":${request === undefined ? '""' : protocolOf(request.version)},"status":${record.status}` +
      (failure === undefined
        ? ""
        : `,"flag":"${failure.row.flag}","failure":"${failure.code}","detail":${bounded(failure.toString())}`) +
      `${this.#target(record)}${record.endpointKey === "" ? "" : `,"endpoint":${cached(this.#endpoints, record.endpointKey)}`},"attempts":${record.attempts}` +
      `,"request_bytes":${record.requestBytes},"response_bytes":${record.responseBytes}` +
      `,"duration_us":${microseconds(record.endMs - record.startMs)}` +
      `,"first_byte_us":${record.firstByteMs > 0 ? microseconds(record.firstByteMs - record.startMs) : 0}`;
    return `${line}${this.#extras(record)}}\n`;
  }

  /** What most lines do not have. */
  #extras(record: ExchangeRecord): string {
    let text = "";
    const { tls } = record.connection;
    if (tls !== undefined) {
      text = `,"tls":${JSON.stringify(tls.version)},"sni":${bounded(tls.serverName ?? "")}`;
      if (tls.peer !== undefined) text += `,"peer":${bounded(tls.peer.uris[0] ?? tls.peer.subject)}`;
    }
    if (record.tunnel) text += ',"tunnel":true';
    if (this.#requestHeaders.length > 0 && record.request !== undefined)
      text += `,"request_headers":${requestHeaders(this.#requestHeaders, record.request.headers)}`;
    if (this.#responseHeaders.length > 0) text += `,"response_headers":${responseHeaders(this.#responseHeaders, record)}`;
    if (record.filterNotes !== undefined) text += `,"notes":${notes(record.filterNotes)}`;
    return text;
  }

  /** `answered_by` to `subset`: mostly the same for all exchanges of a route. */
  #target(record: ExchangeRecord): string {
    const known = this.#targets.get(record.routeName);
    if (
      known !== undefined &&
      known.rule === record.ruleName &&
      known.service === record.serviceName &&
      known.subset === record.subsetName &&
      known.answeredBy === record.answeredBy
    )
      return known.text;
    const text =
      field("answered_by", record.answeredBy) +
      field("route", record.routeName) +
      field("rule", record.ruleName) +
      field("service", record.serviceName) +
      field("subset", record.subsetName);
    if (this.#targets.size >= CACHE_MAX) this.#targets.clear();
    const { ruleName: rule, serviceName: service, subsetName: subset, answeredBy } = record;
    this.#targets.set(record.routeName, { rule, service, subset, answeredBy, text });
    return text;
  }

  /** `{"time":"…","id":` with the time in ISO 8601, UTC, milliseconds. Made once a millisecond; the wall clock is read once a second. */
  #start(monotonicMs: number): string {
    if (monotonicMs > this.#offsetUntilMs || monotonicMs < this.#offsetUntilMs - HOUR_MS) {
      this.#offsetMs = this.#clock.wallMs() - this.#clock.nowMs();
      this.#offsetUntilMs = monotonicMs + 1000;
    }
    const wallMs = Math.floor(monotonicMs + this.#offsetMs);
    if (wallMs === this.#wallMs) return this.#startText;
    const second = Math.floor(wallMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondText = new Date(second * 1000).toISOString().slice(0, -4);
    }
    const ms = wallMs - second * 1000;
    this.#wallMs = wallMs;
    this.#startText = `{"time":"${this.#secondText}${ms < 10 ? "00" : ms < 100 ? "0" : ""}${ms}Z","id":`;
    return this.#startText;
  }
}

/**
 * Texts that repeat are escaped once. What a peer chooses freely (paths, hosts) never comes here; a method may be such a text, so
 * the cache is bounded.
 */
function cached(cache: Map<string, string>, text: string): string {
  const known = cache.get(text);
  if (known !== undefined) return known;
  const escaped = bounded(text);
  if (cache.size >= CACHE_MAX) cache.clear();
  cache.set(text, escaped);
  return escaped;
}

interface Target {
  readonly rule: string;
  readonly service: string;
  readonly subset: string;
  readonly answeredBy: string;
  readonly text: string;
}

function queryOf(record: ExchangeRecord, path: string, mark: number): string {
  const query = mark >= 0 ? path.slice(mark + 1) : record.request?.query;
  return query === undefined ? "" : field("query", redactQuery(query));
}

/** A field that is left out when it is empty. */
function field(name: string, text: string): string {
  return text === "" ? "" : `,"${name}":${bounded(text)}`;
}

function protocolOf(version: number): string {
  return version === 11 ? '"HTTP/1.1"' : version === 20 ? '"HTTP/2"' : '"HTTP/1.0"';
}

function bounded(text: string): string {
  return text.length <= VALUE_MAX ? quote(text) : JSON.stringify(`${text.slice(0, VALUE_MAX)}…`);
}

/** As `JSON.stringify`; a text of printable ASCII without quote and backslash, as nearly all are, is told without calling it. */
function quote(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e || code === 0x22 || code === 0x5c) return JSON.stringify(text);
  }
  return `"${text}"`;
}

function microseconds(ms: number): number {
  return ms > 0 ? Math.round(ms * 1000) : 0;
}

function requestHeaders(names: readonly string[], headers: HeaderBlock): string {
  let text = "";
  for (const name of names) {
    const value = headers.get(name);
    if (value !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${bounded(value)}`;
  }
  return `{${text}}`;
}

function responseHeaders(names: readonly string[], record: ExchangeRecord): string {
  let text = "";
  for (const name of names) {
    const value = record.responseHeader(name);
    if (value !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${bounded(value)}`;
  }
  return `{${text}}`;
}

function notes(entries: ReadonlyMap<string, string>): string {
  let text = "";
  for (const [name, value] of entries) text += `${text === "" ? "" : ","}${bounded(name)}:${bounded(value)}`;
  return `{${text}}`;
}
