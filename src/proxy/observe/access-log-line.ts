import type { Clock } from "../../core/clock.ts";
import type { Failure } from "../../core/failure.ts";
import { type ByteWriter, Literal } from "../../core/writer.ts";
import type { FilterRun } from "../../filters/chain-types.ts";
import { putNumber, putString } from "./json-bytes.ts";
import type { ExchangeRecord, StreamRecord } from "./record.ts";
import { isSecretHeader, loggedPath, loggedQuery } from "./redact.ts";

/** Routes whose part of the line is kept for the next one. */
const CACHE_MAX = 4096;
/** Longer values are cut: one exchange must not fill the log. Characters. */
const VALUE_MAX = 2048;
const HOUR_MS = 3_600_000;

const key = (name: string): Literal => new Literal(`,"${name}":`);

/** The fields in their order, each with its comma and colon. */
const FIELD = {
  trace: key("trace"),
  client: key("client"),
  listener: key("listener"),
  method: key("method"),
  authority: key("authority"),
  path: key("path"),
  query: key("query"),
  status: key("status"),
  detail: key("detail"),
  answered_by: key("answered_by"),
  route: key("route"),
  rule: key("rule"),
  service: key("service"),
  subset: key("subset"),
  endpoint: key("endpoint"),
  attempts: key("attempts"),
  request_bytes: key("request_bytes"),
  response_bytes: key("response_bytes"),
  received_bytes: key("received_bytes"),
  sent_bytes: key("sent_bytes"),
  duration_us: key("duration_us"),
  connect_us: key("connect_us"),
  first_byte_us: key("first_byte_us"),
  tls: key("tls"),
  sni: key("sni"),
  peer: key("peer"),
  request_headers: key("request_headers"),
  response_headers: key("response_headers"),
  notes: key("notes"),
  filter: key("filter"),
  filters: key("filters"),
  us: key("us"),
  waited_us: key("waited_us"),
  fuel: key("fuel"),
  verdict: key("verdict"),
};
const PROTOCOL_10 = new Literal(',"protocol":"HTTP/1.0"');
const PROTOCOL_11 = new Literal(',"protocol":"HTTP/1.1"');
const PROTOCOL_20 = new Literal(',"protocol":"HTTP/2"');
const PROTOCOL_TCP = new Literal(',"protocol":"TCP"');
const NO_PROTOCOL = new Literal(',"protocol":""');
const ID = new Literal('Z","id":');
const COLON = new Literal(":");
const NAME = new Literal('{"name":');
const SLOW = new Literal(',"slow":true');

/**
 * Writes the line of one exchange. The fields and their order are a contract (docs/operations.md):
 * time, id, trace, client, listener, method, authority, path, query, protocol, status, flag, failure, detail, filter, answered_by,
 * route, rule, service, subset, endpoint, attempts, request_bytes, response_bytes, duration_us, first_byte_us, tls, sni, peer,
 * tunnel, request_headers, response_headers, notes, filters. Texts that are empty are left out, as is what only some exchanges have
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
  #second = -1;
  #secondLiteral = new Literal("");

  /** Header names in lower case; those of credentials are left out. `allFilters`: say what each filter did, not of slow ones only. */
  constructor(
    clock: Clock,
    requestHeaders: readonly string[],
    responseHeaders: readonly string[],
    readonly allFilters = false,
    readonly slowFilterMs = Number.POSITIVE_INFINITY,
  ) {
    this.#clock = clock;
    this.#requestHeaders = requestHeaders.map((name) => name.toLowerCase()).filter((name) => !isSecretHeader(name));
    this.#responseHeaders = responseHeaders.map((name) => name.toLowerCase()).filter((name) => !isSecretHeader(name));
    this.#offsetMs = clock.wallMs() - clock.nowMs();
  }

  /** Some filter took, or let the exchange wait, longer than it should. */
  isSlow({ spentMs, waitedMs }: FilterRun): boolean {
    return (spentMs ?? 0) + waitedMs > this.slowFilterMs;
  }

  /** Appends the line, with its newline. `runs`: what filters did, if the settings ask for it. */
  write(record: ExchangeRecord, out: ByteWriter, runs: readonly FilterRun[] = []): void {
    const { request, failure } = record;
    this.#putStart(out, record.endMs);
    putString(out, record.requestId);
    if (record.traceId !== "") putField(out, FIELD.trace, record.traceId);
    putField(out, FIELD.client, record.clientAddress);
    putField(out, FIELD.listener, record.connection.listener);
    putField(out, FIELD.method, request === undefined ? "" : request.method);
    putField(out, FIELD.authority, record.originalAuthority);
    putField(out, FIELD.path, loggedPath(record));
    putUnlessEmpty(out, FIELD.query, loggedQuery(record));
    out.literal(request === undefined ? NO_PROTOCOL : protocolOf(request.version));
    putCount(out, FIELD.status, record.status);
    putFailure(out, failure);
    if (failure === undefined && record.answerDetails !== "") putField(out, FIELD.detail, record.answerDetails);
    if (record.answeringFilter !== "") putField(out, FIELD.filter, record.answeringFilter);
    this.#putRouted(out, record);
    if (record.endpointKey !== "") putField(out, FIELD.endpoint, record.endpointKey);
    putCount(out, FIELD.attempts, record.attempts);
    putCount(out, FIELD.request_bytes, record.requestBytes);
    putCount(out, FIELD.response_bytes, record.responseBytes);
    putCount(out, FIELD.duration_us, microseconds(record.endMs - record.startMs));
    putCount(out, FIELD.first_byte_us, record.firstByteMs > 0 ? microseconds(record.firstByteMs - record.startMs) : 0);
    this.#putExtras(out, record);
    if (runs.length > 0) this.#putFilters(out, runs);
    out.text("}\n");
  }

  /**
   * The line of a stream of bytes: time, id, client, listener, protocol, flag, failure, detail, route, service, subset, endpoint,
   * attempts, received_bytes, sent_bytes, duration_us, connect_us, tls, sni, peer, notes.
   */
  writeStream(record: StreamRecord, out: ByteWriter): void {
    this.#putStart(out, record.endMs);
    putString(out, record.id);
    putField(out, FIELD.client, record.connection.remoteAddress);
    putField(out, FIELD.listener, record.connection.listener);
    out.literal(PROTOCOL_TCP);
    putFailure(out, record.failure);
    putUnlessEmpty(out, FIELD.route, record.routeName);
    putUnlessEmpty(out, FIELD.service, record.serviceName);
    putUnlessEmpty(out, FIELD.subset, record.subsetName);
    putUnlessEmpty(out, FIELD.endpoint, record.endpointKey);
    putCount(out, FIELD.attempts, record.attempts);
    putCount(out, FIELD.received_bytes, record.receivedBytes);
    putCount(out, FIELD.sent_bytes, record.sentBytes);
    putCount(out, FIELD.duration_us, microseconds(record.endMs - record.startMs));
    putCount(out, FIELD.connect_us, microseconds(record.connectMs));
    putTls(out, record);
    const { filterNotes } = record;
    if (filterNotes !== undefined) putObject(out, FIELD.notes, filterNotes.keys(), (name) => filterNotes.get(name));
    out.text("}\n");
  }

  /** All of them, or those that were slow. */
  #putFilters(out: ByteWriter, runs: readonly FilterRun[]): void {
    let isFirst = true;
    for (const run of runs) {
      const slow = this.isSlow(run);
      if (!slow && !this.allFilters) continue;
      if (isFirst) out.literal(FIELD.filters);
      out.text(isFirst ? "[" : ",");
      isFirst = false;
      putField(out, NAME, run.name);
      putField(out, FIELD.verdict, run.verdict);
      // Of an exchange that began before anybody asked for it, nobody knows.
      if (run.spentMs !== undefined) putCount(out, FIELD.us, microseconds(run.spentMs));
      if (run.waitedMs > 0) putCount(out, FIELD.waited_us, microseconds(run.waitedMs));
      if (run.fuel !== undefined) putCount(out, FIELD.fuel, run.fuel);
      if (slow) out.literal(SLOW);
      out.text("}");
    }
    if (!isFirst) out.text("]");
  }

  /** What most lines do not have. */
  #putExtras(out: ByteWriter, record: ExchangeRecord): void {
    putTls(out, record);
    if (record.tunnel) out.text(',"tunnel":true');
    const { request, filterNotes } = record;
    if (this.#requestHeaders.length > 0 && request !== undefined)
      putObject(out, FIELD.request_headers, this.#requestHeaders, (name) => request.headers.get(name));
    if (this.#responseHeaders.length > 0)
      putObject(out, FIELD.response_headers, this.#responseHeaders, (name) => record.responseHeader(name));
    if (filterNotes !== undefined) putObject(out, FIELD.notes, filterNotes.keys(), (name) => filterNotes.get(name));
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
      out.literal(known.literal);
      return;
    }
    const start = out.length;
    putUnlessEmpty(out, FIELD.answered_by, record.answeredBy);
    putUnlessEmpty(out, FIELD.route, record.routeName);
    putUnlessEmpty(out, FIELD.rule, record.ruleName);
    putUnlessEmpty(out, FIELD.service, record.serviceName);
    putUnlessEmpty(out, FIELD.subset, record.subsetName);
    const literal = new Literal(out.buffer.latin1Slice(start, out.length));
    if (this.#targets.size >= CACHE_MAX) this.#targets.clear();
    const { ruleName: rule, serviceName: service, subsetName: subset, answeredBy } = record;
    this.#targets.set(record.routeName, { rule, service, subset, answeredBy, literal });
  }

  /** `{"time":"…","id":` with the time in ISO 8601, UTC, milliseconds. The wall clock is read once a second. */
  #putStart(out: ByteWriter, monotonicMs: number): void {
    if (monotonicMs > this.#offsetUntilMs || monotonicMs < this.#offsetUntilMs - HOUR_MS) {
      this.#offsetMs = this.#clock.wallMs() - this.#clock.nowMs();
      this.#offsetUntilMs = monotonicMs + 1000;
    }
    const wallMs = Math.floor(monotonicMs + this.#offsetMs);
    const second = Math.floor(wallMs / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#secondLiteral = new Literal(`{"time":"${new Date(second * 1000).toISOString().slice(0, -4)}`);
    }
    out.literal(this.#secondLiteral);
    putMillisecond(out, wallMs - second * 1000);
    out.literal(ID);
  }
}

interface Target {
  readonly rule: string;
  readonly service: string;
  readonly subset: string;
  readonly answeredBy: string;
  readonly literal: Literal;
}

function putFailure(out: ByteWriter, failure: Failure | undefined): void {
  if (failure === undefined) return;
  out.text(`,"flag":"${failure.row.flag}","failure":"${failure.code}"`);
  putField(out, FIELD.detail, failure.toString());
}

function putTls(out: ByteWriter, { connection: { tls } }: Pick<ExchangeRecord, "connection">): void {
  if (tls === undefined) return;
  putField(out, FIELD.tls, tls.version);
  putField(out, FIELD.sni, tls.serverName ?? "");
  if (tls.peer !== undefined) putField(out, FIELD.peer, tls.peer.uris[0] ?? tls.peer.subject);
}

function protocolOf(version: number): Literal {
  return version === 11 ? PROTOCOL_11 : version === 20 ? PROTOCOL_20 : PROTOCOL_10;
}

function putField(out: ByteWriter, name: Literal, text: string): void {
  out.literal(name);
  putString(out, text.length <= VALUE_MAX ? text : `${text.slice(0, VALUE_MAX)}…`);
}

function putUnlessEmpty(out: ByteWriter, name: Literal, text: string): void {
  if (text !== "") putField(out, name, text);
}

function putCount(out: ByteWriter, name: Literal, count: number): void {
  out.literal(name);
  putNumber(out, count);
}

/** Three digits. */
function putMillisecond(out: ByteWriter, ms: number): void {
  if (ms < 100) out.byte(0x30);
  if (ms < 10) out.byte(0x30);
  putNumber(out, ms);
}

function microseconds(ms: number): number {
  return ms > 0 ? Math.round(ms * 1000) : 0;
}

/** An object of those names that have a value. */
function putObject(out: ByteWriter, name: Literal, keys: Iterable<string>, find: (key: string) => string | undefined): void {
  out.literal(name);
  let mark = "{";
  for (const key of keys) {
    const value = find(key);
    if (value === undefined) continue;
    out.text(mark);
    putString(out, key.length <= VALUE_MAX ? key : `${key.slice(0, VALUE_MAX)}…`);
    putField(out, COLON, value);
    mark = ",";
  }
  out.text(mark === "{" ? "{}" : "}");
}
