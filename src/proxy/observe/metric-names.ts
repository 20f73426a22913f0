import { type HistogramScale, VALUE_SCALE } from "../../core/histogram.ts";
import { CALL_FUEL_SCALE, CALL_TIME_SCALE, FAULT_KINDS } from "../../filters/stats.ts";

/**
 * Every metric there is, in one table: the recorder, the renderer and docs/operations.md all read it. Names end in their unit
 * (`_seconds`, `_bytes`), counters in `_total`, as Prometheus asks (https://prometheus.io/docs/practices/naming/).
 */
export interface MetricDefinition {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  readonly labels: readonly string[];
  readonly help: string;
  /** Series of this metric; one more is counted under `__other__` in every label. */
  readonly seriesMax: number;
  /** Of a histogram; default: `TIME_SCALE`. */
  readonly scale?: HistogramScale;
}

/** The label value that series beyond the budget share. */
export const OVERFLOW_LABEL = "__other__";

const metric = (
  kind: MetricDefinition["kind"],
  name: string,
  labels: readonly string[],
  help: string,
  seriesMax = 1,
): MetricDefinition => ({ name, kind, labels, help, seriesMax });

const PAIR = ["route", "service"] as const;
/** Pairs of route and service with series of their own. */
export const PAIRS_MAX = 2000;
/** Codes and flags that one pair may show before they are counted together. */
export const CODES_PER_PAIR_MAX = 64;
const SERVICES_MAX = 2000;
const LISTENERS_MAX = 256;
const FILTERS_MAX = 1000;

export const METRICS = {
  requests: metric(
    "counter",
    "selvedge_requests_total",
    [...PAIR, "code", "flag"],
    "Finished exchanges. code: HTTP status, 0 when no answer was sent; flag: response flag of the failure, or -.",
    PAIRS_MAX * 8,
  ),
  requestDuration: metric(
    "histogram",
    "selvedge_request_duration_seconds",
    PAIR,
    "From the first byte of a request to the last byte of its answer.",
    PAIRS_MAX,
  ),
  requestBytes: metric("counter", "selvedge_request_bytes_total", PAIR, "Body bytes that downstreams sent.", PAIRS_MAX),
  responseBytes: metric("counter", "selvedge_response_bytes_total", PAIR, "Body bytes sent to downstreams.", PAIRS_MAX),
  streams: metric(
    "counter",
    "selvedge_tcp_streams_total",
    [...PAIR, "flag"],
    "Finished TCP streams. flag: response flag of the failure, or -.",
    PAIRS_MAX * 4,
  ),
  streamsOpen: metric("gauge", "selvedge_tcp_streams", PAIR, "Open TCP streams.", PAIRS_MAX),
  streamReceivedBytes: metric(
    "counter",
    "selvedge_tcp_received_bytes_total",
    PAIR,
    "Bytes that downstreams sent in TCP streams, open ones included.",
    PAIRS_MAX,
  ),
  streamSentBytes: metric(
    "counter",
    "selvedge_tcp_sent_bytes_total",
    PAIR,
    "Bytes sent to downstreams in TCP streams, open ones included.",
    PAIRS_MAX,
  ),
  streamDuration: metric("histogram", "selvedge_tcp_stream_duration_seconds", PAIR, "How long TCP streams were open.", PAIRS_MAX),
  inFlight: metric("gauge", "selvedge_requests_in_flight", [], "Exchanges under way."),
  connectionsTotal: metric("counter", "selvedge_connections_total", ["listener"], "Accepted connections.", LISTENERS_MAX),
  connections: metric("gauge", "selvedge_connections", ["listener"], "Open downstream connections.", LISTENERS_MAX),
  handshakes: metric("gauge", "selvedge_handshakes", ["listener"], "TLS handshakes and PROXY headers under way.", LISTENERS_MAX),
  connectionFailures: metric(
    "counter",
    "selvedge_connection_failures_total",
    ["listener", "code"],
    "Connections that ended before they made a request, by failure code: tls_handshake, plain_http, request_timeout, bad_proxy_header, overloaded, …",
    LISTENERS_MAX * 8,
  ),
  upstreamAttempts: metric("counter", "selvedge_upstream_attempts_total", ["service"], "Attempts at endpoints.", SERVICES_MAX),
  upstreamFirstByte: metric(
    "histogram",
    "selvedge_upstream_first_byte_seconds",
    ["service"],
    "From the start of an exchange to the head of the upstream's answer.",
    SERVICES_MAX,
  ),
  upstreamConnects: metric(
    "counter",
    "selvedge_upstream_connects_total",
    ["service", "result"],
    "Connections opened to endpoints. result: ok or failed.",
    SERVICES_MAX * 2,
  ),
  upstreamConnectDuration: metric(
    "histogram",
    "selvedge_upstream_connect_duration_seconds",
    ["service"],
    "TCP connect and TLS handshake with an endpoint, successful ones.",
    SERVICES_MAX,
  ),
  upstreamConnections: metric("gauge", "selvedge_upstream_connections", ["service"], "Open upstream connections.", SERVICES_MAX),
  upstreamPending: metric(
    "gauge",
    "selvedge_upstream_pending_requests",
    ["service"],
    "Exchanges that wait for an upstream connection.",
    SERVICES_MAX,
  ),
  filterCalls: metric("counter", "selvedge_filter_calls_total", ["filter", "phase"], "Calls into a filter.", FILTERS_MAX * 8),
  filterSeconds: metric(
    "counter",
    "selvedge_filter_seconds_total",
    ["filter", "phase"],
    "Time spent in a filter.",
    FILTERS_MAX * 8,
  ),
  filterCallTime: {
    ...metric(
      "histogram",
      "selvedge_filter_call_seconds",
      ["filter"],
      "Time of a callback; a sample that stands for all.",
      FILTERS_MAX,
    ),
    scale: CALL_TIME_SCALE,
  },
  filterCallFuel: {
    ...metric(
      "histogram",
      "selvedge_filter_call_fuel",
      ["filter"],
      "Fuel of a callback; a sample that stands for all.",
      FILTERS_MAX,
    ),
    scale: CALL_FUEL_SCALE,
  },
  filterVerdicts: metric(
    "counter",
    "selvedge_filter_verdicts_total",
    ["filter", "verdict"],
    "Exchanges that a filter saw, by the strongest thing it answered. verdict: continue, pause, respond or fail (also without an instance).",
    FILTERS_MAX * 4,
  ),
  filterFaults: metric(
    "counter",
    "selvedge_filter_faults_total",
    ["filter", "kind"],
    `What went wrong in a filter; an instance that breaks counts once, however many exchanges it had. kind: ${Object.keys(FAULT_KINDS).join(", ")}.`,
    FILTERS_MAX * Object.keys(FAULT_KINDS).length,
  ),
  filterInstances: metric("gauge", "selvedge_filter_instances", ["filter"], "Instances of a filter.", FILTERS_MAX),
  filterContexts: metric("gauge", "selvedge_filter_contexts", ["filter"], "Exchanges that a filter has under way.", FILTERS_MAX),
  filterMemory: metric("gauge", "selvedge_filter_memory_bytes", ["filter"], "Memory of a filter's instances.", FILTERS_MAX),
  filterDenied: metric(
    "counter",
    "selvedge_filter_denied_total",
    ["filter", "capability"],
    "Calls that a filter's capabilities do not grant.",
    FILTERS_MAX,
  ),
  filterFuel: metric(
    "counter",
    "selvedge_filter_fuel_total",
    ["filter"],
    "Work that filters did, about one for each instruction.",
    FILTERS_MAX,
  ),
  filterDisabled: metric(
    "gauge",
    "selvedge_filter_disabled",
    ["filter"],
    "Processes in which a filter is switched off, by hand or by configuration.",
    FILTERS_MAX,
  ),
  filterThrottled: metric(
    "counter",
    "selvedge_filter_throttled_total",
    ["filter"],
    "Times that a filter's onFailure applied because its share of CPU of that second was used up.",
    FILTERS_MAX,
  ),
  filterWaits: metric(
    "counter",
    "selvedge_filter_waits_total",
    ["filter"],
    "Times that work of a filter's own (words about items of shared queues, answers to calls of its ticks) waited for a bound or its share of CPU.",
    FILTERS_MAX,
  ),
  filterQuarantined: metric(
    "gauge",
    "selvedge_filter_quarantined",
    ["filter"],
    "Processes in which a filter broke too often and is not run any more.",
    FILTERS_MAX,
  ),
  filterCounter: metric(
    "counter",
    "selvedge_filter_custom_total",
    ["filter", "name"],
    "Counters that filters define.",
    FILTERS_MAX,
  ),
  filterGauge: metric("gauge", "selvedge_filter_custom", ["filter", "name"], "Gauges that filters define.", FILTERS_MAX),
  filterHistogram: {
    ...metric(
      "histogram",
      "selvedge_filter_custom_values",
      ["filter", "name"],
      "Histograms that filters define, in the filter's own unit.",
      FILTERS_MAX,
    ),
    scale: VALUE_SCALE,
  },
  configRevision: metric("gauge", "selvedge_config_revision", [], "Revision that is served; of several workers the lowest."),
  configApplies: metric(
    "counter",
    "selvedge_config_applies_total",
    ["result"],
    "Snapshots taken. result: applied or rejected.",
    2,
  ),
  configApplyDuration: metric("histogram", "selvedge_config_apply_seconds", [], "Building and swapping a generation."),
  configLatency: metric(
    "histogram",
    "selvedge_config_latency_seconds",
    [],
    "From the publication of a change until it is served.",
  ),
  accessLogLines: metric("counter", "selvedge_access_log_lines_total", [], "Lines written to the access log."),
  accessLogDropped: metric(
    "counter",
    "selvedge_access_log_dropped_total",
    [],
    "Lines dropped because the log could not keep up, or its disk was full.",
  ),
  traceSpans: metric(
    "counter",
    "selvedge_trace_spans_total",
    ["result"],
    "Spans of sampled exchanges, with tracing.export. result: sent (the collector took them) or dropped (it was away, slow or refused them).",
    2,
  ),
  containedBugs: metric(
    "counter",
    "selvedge_contained_bugs_total",
    [],
    "Bugs of the proxy that cost the connection on which they struck. The log has where, please report them.",
  ),
  workers: metric("gauge", "selvedge_workers", [], "Worker processes that are serving."),
  workerExits: metric(
    "counter",
    "selvedge_worker_exits_total",
    ["reason"],
    "Workers that were replaced. reason: crashed or hung.",
    4,
  ),
  residentBytes: metric("gauge", "selvedge_process_resident_bytes", ["process"], "Resident memory of a process.", 256),
  cpuSeconds: metric("counter", "selvedge_process_cpu_seconds_total", ["process"], "Processor time used by a process.", 256),
  buildInfo: metric("gauge", "selvedge_build_info", ["version", "runtime"], "Always 1; which build and runtime this is."),
} as const satisfies Record<string, MetricDefinition>;

export type MetricKey = keyof typeof METRICS;
