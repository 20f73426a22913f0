import { type Bytes, copyBytes } from "../../core/bytes.ts";
import type { Clock } from "../../core/clock.ts";
import type { ByteWriter } from "../../core/writer.ts";
import { putNumber, putString } from "./json-bytes.ts";
import type { ExchangeRecord } from "./record.ts";
import { isSecretHeader, redactQuery } from "./redact.ts";

/** Routes whose part of the line is kept for the next one. */
const CACHE_MAX = 4096;
/** Longer values are cut: one exchange must not fill the log. Characters. */
const VALUE_MAX = 2048;
const HOUR_MS = 3_600_000;

/**
 * Writes the line of one exchange. The fields and their order are a contract (docs/operations.md):
 * time, id, trace, client, listener, method, authority, path, query, protocol, status, flag, failure, detail, answered_by,
 * route, rule, service, subset, endpoint, attempts, request_bytes, response_bytes, duration_us, first_byte_us, tls, sni, peer,
 * tunnel, request_headers, response_headers, notes. Texts that are empty are left out, as is what only some exchanges have
 * (flag, failure and detail of a failure, tls and behind).
 *
 * Every text goes through `putString`, so that nothing a peer sent can end a field or a line (class 43). The line is written
 * as bytes into the batch that goes to the file: putting texts together and encoding them cost 1.3 us, this costs 0.3.
 */
export class AccessLogLine {
  readonly #clock: Clock;
  readonly #requestHeaders: readonly string[];
  readonly #responseHeaders: readonly string[];
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

  /** Appends the line, with its newline. */
  write(record: ExchangeRecord, out: ByteWriter): void {
    const { request, failure } = record;
    out.text(this.#start(record.endMs));
    putString(out, record.requestId);
    if (record.traceId !== "") putField(out, ',"trace":', record.traceId);
    putField(out, ',"client":', record.clientAddress);
    putField(out, ',"listener":', record.connection.listener);
    putField(out, ',"method":', request === undefined ? "" : request.method);
    putField(out, ',"authority":', record.originalAuthority);
    putTarget(out, record);
    out.text(request === undefined ? ',"protocol":""' : protocolOf(request.version));
    putCount(out, ',"status":', record.status);
    if (failure !== undefined) {
      out.text(`,"flag":"${failure.row.flag}","failure":"${failure.code}"`);
      putField(out, ',"detail":', failure.toString());
    }
    this.#putRouted(out, record);
    if (record.endpointKey !== "") putField(out, ',"endpoint":', record.endpointKey);
    putCount(out, ',"attempts":', record.attempts);
    putCount(out, ',"request_bytes":', record.requestBytes);
    putCount(out, ',"response_bytes":', record.responseBytes);
    putCount(out, ',"duration_us":', microseconds(record.endMs - record.startMs));
    putCount(out, ',"first_byte_us":', record.firstByteMs > 0 ? microseconds(record.firstByteMs - record.startMs) : 0);
    this.#putExtras(out, record);
    out.text("}\n");
  }

  /** What most lines do not have. */
  #putExtras(out: ByteWriter, record: ExchangeRecord): void {
    const { tls } = record.connection;
    if (tls !== undefined) {
      putField(out, ',"tls":', tls.version);
      putField(out, ',"sni":', tls.serverName ?? "");
      if (tls.peer !== undefined) putField(out, ',"peer":', tls.peer.uris[0] ?? tls.peer.subject);
    }
    if (record.tunnel) out.text(',"tunnel":true');
    const { request, filterNotes } = record;
    if (this.#requestHeaders.length > 0 && request !== undefined)
      putObject(out, ',"request_headers":', this.#requestHeaders, (name) => request.headers.get(name));
    if (this.#responseHeaders.length > 0)
      putObject(out, ',"response_headers":', this.#responseHeaders, (name) => record.responseHeader(name));
    if (filterNotes !== undefined) putObject(out, ',"notes":', filterNotes.keys(), (name) => filterNotes.get(name));
  }

  /** `answered_by` to `subset`: mostly the same for all exchanges of a route. */
  #putRouted(out: ByteWriter, record: ExchangeRecord): void {
    const known = this.#targets.get(record.routeName);
    if (
      known !== undefined &&
      known.rule === record.ruleName &&
      known.service === record.serviceName &&
      known.subset === record.subsetName &&
      known.answeredBy === record.answeredBy
    ) {
      out.bytes(known.bytes);
      return;
    }
    const start = out.length;
    putUnlessEmpty(out, ',"answered_by":', record.answeredBy);
    putUnlessEmpty(out, ',"route":', record.routeName);
    putUnlessEmpty(out, ',"rule":', record.ruleName);
    putUnlessEmpty(out, ',"service":', record.serviceName);
    putUnlessEmpty(out, ',"subset":', record.subsetName);
    const bytes = copyBytes(out.buffer.subarray(start, out.length));
    if (this.#targets.size >= CACHE_MAX) this.#targets.clear();
    const { ruleName: rule, serviceName: service, subsetName: subset, answeredBy } = record;
    this.#targets.set(record.routeName, { rule, service, subset, answeredBy, bytes });
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

interface Target {
  readonly rule: string;
  readonly service: string;
  readonly subset: string;
  readonly answeredBy: string;
  readonly bytes: Bytes;
}

/** `path` and `query`, as they came. */
function putTarget(out: ByteWriter, record: ExchangeRecord): void {
  const path = record.originalPath;
  const mark = path.indexOf("?");
  putField(out, ',"path":', mark < 0 ? path : path.slice(0, mark));
  const query = mark >= 0 ? path.slice(mark + 1) : record.request?.query;
  if (query !== undefined) putUnlessEmpty(out, ',"query":', redactQuery(query));
}

function protocolOf(version: number): string {
  return version === 11 ? ',"protocol":"HTTP/1.1"' : version === 20 ? ',"protocol":"HTTP/2"' : ',"protocol":"HTTP/1.0"';
}

/** `name` comes with its comma and colon. */
function putField(out: ByteWriter, name: string, text: string): void {
  out.text(name);
  putString(out, text.length <= VALUE_MAX ? text : `${text.slice(0, VALUE_MAX)}…`);
}

function putUnlessEmpty(out: ByteWriter, name: string, text: string): void {
  if (text !== "") putField(out, name, text);
}

function putCount(out: ByteWriter, name: string, count: number): void {
  out.text(name);
  putNumber(out, count);
}

function microseconds(ms: number): number {
  return ms > 0 ? Math.round(ms * 1000) : 0;
}

/** An object of those names that have a value. */
function putObject(out: ByteWriter, name: string, keys: Iterable<string>, find: (key: string) => string | undefined): void {
  out.text(name);
  let mark = "{";
  for (const key of keys) {
    const value = find(key);
    if (value === undefined) continue;
    out.text(mark);
    putString(out, key.length <= VALUE_MAX ? key : `${key.slice(0, VALUE_MAX)}…`);
    putField(out, ":", value);
    mark = ",";
  }
  out.text(mark === "{" ? "{}" : "}");
}
