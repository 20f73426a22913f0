import { TRACE_LIMITS } from "../../../core/limits.ts";
import type { FilterRun } from "../../../filters/chain-types.ts";
import type { ExchangeRecord } from "../record.ts";
import { loggedPath, loggedQuery } from "../redact.ts";

export type SpanValue = string | number | boolean;
export type SpanAttribute = readonly [name: string, value: SpanValue];

/** One exchange as tracing sees it, before it is JSON of one protocol or the other. */
export interface Span {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits: what the upstream was told as its parent. */
  readonly spanId: string;
  /** The caller's span; "" when the trace starts here. */
  readonly parentId: string;
  /** Of few different values: method, and the pattern of the path or the route's name. */
  readonly name: string;
  /** Since 1970, ms with fractions. */
  readonly startMs: number;
  readonly endMs: number;
  /** Why it failed, for people; undefined when it did not (also when the caller was refused: 4xx). */
  readonly error: string | undefined;
  /** Of the caller, as far as it has an address. */
  readonly peerAddress: string;
  readonly peerPort: number;
  readonly attributes: readonly SpanAttribute[];
  readonly filters: readonly SpanFilter[];
}

/** What one filter did. */
export interface SpanFilter {
  readonly name: string;
  readonly verdict: string;
  /** In its callbacks, microseconds. */
  readonly us: number;
  /** That the exchange waited for it. */
  readonly waitedUs: number;
  readonly fuel: number;
  readonly slow: boolean;
}

const FIRST_ERROR = 400;
const FIRST_SERVER_ERROR = 500;
/** All others are one name: methods are a caller's own text. */
const METHODS: ReadonlySet<string> = new Set([
  ...["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"],
]);

/** `offsetMs`: from the monotonic clock of the record to 1970. `slowFilterMs`: filters that took longer are `slow`. */
export function spanOf(record: ExchangeRecord, offsetMs: number, slowFilterMs: number): Span {
  const { connection, failure, status } = record;
  const filters = record.filterRuns().map((run) => filterOf(run, slowFilterMs));
  // Of what the caller did wrong, or broke off, the service is not at fault (OpenTelemetry, HTTP server spans).
  const failed = status >= FIRST_SERVER_ERROR || (failure !== undefined && status < FIRST_ERROR && failure.side !== "downstream");
  return {
    traceId: record.traceId,
    spanId: record.spanId,
    parentId: record.parentSpanId,
    name: nameOf(record),
    startMs: record.startMs + offsetMs,
    endMs: Math.max(record.startMs, record.endMs) + offsetMs,
    error: failed ? cut(failure?.toString() ?? `status ${status}`) : undefined,
    peerAddress: record.clientAddress,
    // Behind a trusted proxy the caller's port is not known.
    peerPort: record.clientAddress === connection.remoteAddress ? connection.remotePort : 0,
    attributes: attributesOf(record, filters),
    filters,
  };
}

function nameOf(record: ExchangeRecord): string {
  const method = record.request?.method ?? "";
  const where = record.pathPattern === "" ? record.routeName : record.pathPattern;
  const known = METHODS.has(method) ? method : "HTTP";
  return where === "" ? known : cut(`${known} ${where}`);
}

function filterOf({ name, verdict, spentMs, waitedMs, fuel }: FilterRun, slowFilterMs: number): SpanFilter {
  // An exchange with a span is timed.
  const [us, waitedUs] = [microseconds(spentMs ?? 0), microseconds(waitedMs)];
  return { name, verdict, us, waitedUs, fuel: fuel ?? 0, slow: (spentMs ?? 0) + waitedMs > slowFilterMs };
}

/** Names of the semantic conventions of OpenTelemetry for HTTP servers where they have one; `selvedge.*` is ours, with the words of the access log. */
function attributesOf(record: ExchangeRecord, filters: readonly SpanFilter[]): SpanAttribute[] {
  const list: SpanAttribute[] = [];
  const put = (name: string, value: SpanValue): void => {
    if (value !== "") list.push([name, typeof value === "string" ? cut(value) : value]);
  };
  const { request, status, failure, connection } = record;
  if (request !== undefined) {
    const known = METHODS.has(request.method);
    put("http.request.method", known ? request.method : "_OTHER");
    if (!known) put("http.request.method_original", request.method);
    put("url.scheme", request.scheme);
    put("network.protocol.version", request.version === 20 ? "2" : request.version === 11 ? "1.1" : "1.0");
  }
  put("url.path", loggedPath(record));
  put("url.query", loggedQuery(record));
  putAuthority(record.originalAuthority, put);
  put("client.address", record.clientAddress);
  put("network.peer.address", connection.remoteAddress);
  if (connection.remotePort > 0) put("network.peer.port", connection.remotePort);
  put("http.route", record.pathPattern);
  if (status > 0) put("http.response.status_code", status);
  if (failure !== undefined) put("error.type", failure.code);
  else if (status >= FIRST_SERVER_ERROR) put("error.type", String(status));
  put("http.request.body.size", record.requestBytes);
  put("http.response.body.size", record.responseBytes);
  putOurs(record, filters, put);
  return list;
}

type Put = (name: string, value: SpanValue) => void;

function putOurs(record: ExchangeRecord, filters: readonly SpanFilter[], put: Put): void {
  put("selvedge.request_id", record.requestId);
  put("selvedge.listener", record.connection.listener);
  put("selvedge.route", record.routeName);
  put("selvedge.rule", record.ruleName);
  put("selvedge.service", record.serviceName);
  put("selvedge.subset", record.subsetName);
  put("selvedge.endpoint", record.endpointKey);
  put("selvedge.attempts", record.attempts);
  put("selvedge.answered_by", record.answeredBy);
  put("selvedge.filter", record.answeringFilter);
  const slow = filters.filter((each) => each.slow).map((each) => each.name);
  // An attribute of the span itself, because that is what trace stores search by.
  put("selvedge.filters.slow", slow.join(","));
  if (record.tunnel) put("selvedge.tunnel", true);
}

/** `server.address` and `server.port` from `host:port`, as the caller asked. */
function putAuthority(authority: string, put: Put): void {
  const colon = authority.lastIndexOf(":");
  const hasPort = colon > authority.lastIndexOf("]");
  const host = hasPort ? authority.slice(0, colon) : authority;
  put("server.address", host.startsWith("[") ? host.slice(1, -1) : host);
  const port = hasPort ? Number(authority.slice(colon + 1)) : 0;
  if (port > 0) put("server.port", port);
}

const microseconds = (ms: number): number => (ms > 0 ? Math.round(ms * 1000) : 0);

function cut(text: string): string {
  const { valueChars } = TRACE_LIMITS;
  return text.length <= valueChars ? text : `${text.slice(0, valueChars)}…`;
}
