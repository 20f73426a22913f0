/**
 * The one failure type. Who caused it (`side`) and what it is (`code`) decide everything else: HTTP status, gRPC status,
 * log level, response flag, whether a retry is safe. Every layer adds its address ("route X", "service Y", "endpoint Z").
 * The id of a failure goes to the caller, its cause to the log.
 */

/** Who caused the failure. */
export type FailureSide = "downstream" | "upstream" | "filter" | "control" | "local";

/** May the attempt be repeated? `if-reused`: only when the connection had served an exchange before and not a byte of an answer came. */
export type FailureRetry = "never" | "safe" | "if-reused";

/** How loud the log is. */
export type FailureLevel = "debug" | "info" | "warn" | "error";

interface FailureRow {
  readonly side: FailureSide;
  /** HTTP status of the answer that the proxy gives itself. */
  readonly status: number;
  /** gRPC status code (https://grpc.io/docs/guides/status-codes/). */
  readonly grpc: number;
  readonly level: FailureLevel;
  /** Response flag in log and metrics; Envoy's letters where it has the same thing. */
  readonly flag: string;
  readonly retry: FailureRetry;
  /** What the caller is told; never contains anything a peer sent. */
  readonly message: string;
}

const row = (
  side: FailureSide,
  status: number,
  grpc: number,
  level: FailureLevel,
  flag: string,
  retry: FailureRetry,
  message: string,
): FailureRow => ({ side, status, grpc, level, flag, retry, message });

/** Every code there is. Adding one here is all it takes: status, metrics, log and body follow. */
export const FAILURES = {
  // What the downstream sent was wrong (bad bytes: the connection is closed after the answer).
  bad_request_line: row("downstream", 400, 13, "info", "DPE", "never", "The request line is malformed."),
  bad_header: row("downstream", 400, 13, "info", "DPE", "never", "A header field is malformed."),
  bad_framing: row("downstream", 400, 13, "info", "DPE", "never", "The length of the message is ambiguous or malformed."),
  bad_chunk: row("downstream", 400, 13, "info", "DPE", "never", "The chunked body is malformed."),
  bad_host: row("downstream", 400, 13, "info", "DPE", "never", "The Host header is missing, repeated or malformed."),
  bad_path: row("downstream", 400, 13, "info", "DPE", "never", "The request target is malformed or not allowed."),
  bad_upgrade: row("downstream", 400, 13, "info", "DPE", "never", "The upgrade request is malformed."),
  bad_proxy_header: row("downstream", 400, 13, "warn", "DPE", "never", "The PROXY protocol header is malformed."),
  tls_handshake: row("downstream", 400, 13, "debug", "DPE", "never", "The TLS handshake failed."),
  plain_http: row("downstream", 400, 13, "info", "DPE", "never", "Client sent an HTTP request to an HTTPS server."),
  uri_too_long: row("downstream", 414, 8, "info", "DPE", "never", "The request target is too long."),
  headers_too_large: row("downstream", 431, 8, "info", "DPE", "never", "The header section is too large."),
  body_too_large: row("downstream", 413, 8, "info", "DPE", "never", "The request body is too large."),
  expectation_failed: row("downstream", 417, 9, "info", "DPE", "never", "The Expect header asks for something unknown."),
  version_not_supported: row("downstream", 505, 12, "info", "DPE", "never", "The HTTP version is not supported."),
  coding_not_implemented: row("downstream", 501, 12, "info", "DPE", "never", "The transfer coding is not implemented."),
  connect_refused: row("downstream", 405, 12, "info", "DPE", "never", "CONNECT is not allowed here."),
  upgrade_required: row("downstream", 426, 9, "info", "DPE", "never", "This route needs a protocol upgrade."),
  misdirected: row("downstream", 421, 14, "info", "DPE", "never", "This connection cannot serve the requested host."),
  request_timeout: row("downstream", 408, 4, "info", "DT", "never", "The request was not received in time."),
  downstream_reset: row("downstream", 499, 1, "debug", "DC", "never", "The caller went away."),
  // We would not serve it.
  no_route: row("local", 404, 12, "info", "NR", "never", "No route matches this request."),
  method_not_allowed: row("local", 405, 12, "info", "NR", "never", "The method is not allowed here."),
  no_backend: row("local", 500, 14, "warn", "NC", "never", "The route has no backend that exists."),
  maintenance: row("local", 503, 14, "info", "MM", "never", "This service is in maintenance."),
  overloaded: row("local", 503, 14, "warn", "OM", "never", "The proxy is at its limit."),
  stream_idle: row("local", 408, 4, "info", "SI", "never", "Nothing moved for too long."),
  draining: row("local", 503, 14, "info", "DR", "never", "The proxy is shutting down."),
  exchange_timeout: row("local", 504, 4, "warn", "UT", "never", "The request took too long."),
  unauthenticated: row("local", 401, 16, "info", "UA", "never", "Valid credentials are required."),
  forbidden: row("local", 403, 7, "info", "AD", "never", "Access is denied."),
  internal: row("local", 500, 13, "error", "LE", "never", "The proxy failed."),
  // The upstream let us down.
  no_endpoint: row("upstream", 503, 14, "warn", "UH", "never", "No endpoint is available."),
  pool_overflow: row("upstream", 503, 14, "warn", "UO", "never", "Too many requests wait for an endpoint."),
  connect_failed: row("upstream", 503, 14, "warn", "UF", "safe", "The endpoint could not be reached."),
  connect_timeout: row("upstream", 504, 4, "warn", "UF", "safe", "The endpoint did not accept in time."),
  upstream_tls: row("upstream", 502, 14, "error", "UF", "never", "The endpoint's TLS identity was not accepted."),
  upstream_reset: row("upstream", 502, 14, "warn", "UC", "if-reused", "The endpoint closed the connection."),
  upstream_protocol: row("upstream", 502, 13, "error", "UPE", "never", "The endpoint's answer is malformed."),
  upstream_timeout: row("upstream", 504, 4, "warn", "UT", "never", "The endpoint did not answer in time."),
  upstream_too_large: row("upstream", 502, 8, "error", "UPE", "never", "The endpoint's answer exceeds a limit."),
  upstream_aborted: row("upstream", 502, 14, "warn", "UC", "never", "The endpoint broke off its answer."),
  // A filter did.
  filter_failed: row("filter", 500, 13, "error", "FF", "never", "A filter failed."),
  filter_disabled: row("filter", 503, 14, "info", "FD", "never", "A filter of this route is switched off."),
  filter_closed: row("filter", 403, 7, "info", "FC", "never", "A filter closed the stream."),
  filter_timeout: row("filter", 504, 4, "error", "FT", "never", "A filter took too long."),
  filter_body_too_large: row("filter", 413, 8, "info", "FB", "never", "The body is larger than a filter may hold."),
  filter_body_length: row(
    "filter",
    500,
    13,
    "error",
    "FF",
    "never",
    "A filter left a body of another length than was announced.",
  ),
  filter_reply_too_large: row("filter", 500, 8, "info", "FB", "never", "The answer is larger than a filter may hold."),
} as const satisfies Record<string, FailureRow>;

/** A stable code, part of the public contract: clients, dashboards and alerts key on it. */
export type FailureCode = keyof typeof FAILURES;

/** One failure, with what the table says about its code and where it happened. Not an `Error`: making one costs no stack trace. */
export class Failure {
  /** Addresses from the innermost layer outwards, for the log: `endpoint 10.0.0.1:80`, `service shop`, `route shop`. */
  readonly at: string[] = [];

  constructor(
    readonly code: FailureCode,
    /** What exactly was wrong, for the log only: may name limits and offsets, never secrets. */
    readonly detail: string = "",
    /** The underlying error, for the log only. */
    readonly cause?: unknown,
  ) {}

  get row(): FailureRow {
    return FAILURES[this.code];
  }
  get side(): FailureSide {
    return FAILURES[this.code].side;
  }
  get status(): number {
    return FAILURES[this.code].status;
  }
  get retry(): FailureRetry {
    return FAILURES[this.code].retry;
  }

  /** Adds the address of the layer that the failure passes through. */
  addAddress(address: string): this {
    this.at.push(address);
    return this;
  }

  /** One line for the log. */
  toString(): string {
    const where = this.at.length > 0 ? ` at ${this.at.join(", ")}` : "";
    const cause = this.cause === undefined ? "" : `: ${describeCause(this.cause)}`;
    return `${this.code}${this.detail === "" ? "" : ` (${this.detail})`}${where}${cause}`;
  }
}

/** The message of an unknown thrown value, in one line. */
export function describeCause(cause: unknown): string {
  if (cause instanceof Failure) return cause.toString();
  if (cause instanceof Error) return cause.message;
  return String(cause);
}
