/**
 * The tables of docs/operations.md, between its marks, from what the program itself uses. `bun scripts/docs.ts` writes them; a
 * test fails when they are stale.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { formatDuration, formatSize } from "../src/config/schema/units.ts";
import { CONTROL_METRICS } from "../src/control/metrics.ts";
import { natsPermissions } from "../src/control/permissions.ts";
import { EVENT_KINDS } from "../src/core/events.ts";
import { FAILURES } from "../src/core/failure.ts";
import * as limits from "../src/core/limits.ts";
import { METRICS, type MetricDefinition } from "../src/proxy/observe/metric-names.ts";

/** Where the page belongs. */
export const OPERATIONS_PAGE = fileURLToPath(new URL("../docs/operations.md", import.meta.url));

const LIMITS_SOURCES = [
  "limits.ts",
  "limits-control.ts",
  "limits-extism.ts",
  "limits-filter-logs.ts",
  "limits-guests.ts",
  "limits-http.ts",
  "limits-jwt.ts",
  "limits-oci.ts",
  "limits-trace.ts",
].map((name) => fileURLToPath(new URL(`../src/core/${name}`, import.meta.url)));

const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
const tableOf = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows.map((row) => row.map(cell))].map((row) => `| ${row.join(" | ")} |`).join("\n");

function renderMetrics(definitions: Readonly<Record<string, Omit<MetricDefinition, "seriesMax">>>): string {
  const rows = Object.values(definitions).map(({ name, kind, labels, help }) => [
    `\`${name}\``,
    kind,
    labels.map((label) => `\`${label}\``).join(" "),
    help,
  ]);
  return tableOf(["metric", "kind", "labels", "meaning"], rows);
}

const RETRIES = { never: "", safe: "safe", "if-reused": "on a reused connection" } as const;

function renderFailures(): string {
  const rows = Object.entries(FAILURES).map(([code, { side, status, grpc, level, flag, retry, message }]) => [
    ...[`\`${code}\``, String(status), String(grpc), side, `\`${flag}\``, level],
    ...[RETRIES[retry], message],
  ]);
  return tableOf(["code", "HTTP", "gRPC", "side", "flag", "log level", "retry", "what the caller is told"], rows);
}

/** Sentences above the fields in limits.ts, by block (interface or constant) and field. */
function readMeanings(): ReadonlyMap<string, string> {
  const meanings = new Map<string, string>();
  let block = "";
  let comment = "";
  for (const line of LIMITS_SOURCES.flatMap((source) => linesOf(readFileSync(source, "utf8")))) {
    block = /^export (?:interface|const) (\w+)/.exec(line)?.[1] ?? block;
    const said = /^\s*\/\*\* (.*) \*\/$/.exec(line)?.[1];
    const field = /^\s+(?:readonly )?(\w+)\??:/.exec(line)?.[1];
    if (field !== undefined && comment !== "") meanings.set(`${block}.${field}`, comment);
    comment = said ?? "";
  }
  return meanings;
}

/** A comment of several lines is one. */
const linesOf = (source: string): string[] =>
  source
    .replace(/\/\*\*\n[\s\S]*?\*\//g, (comment) => comment.replace(/\n\s*\*(?!\/)/g, "").replace(/\n\s*\*\//, " */"))
    .split("\n");

/** What users write for a limit, from the files that compile it: `bufferBytes: budget.buffer` becomes `budget.buffer`. */
function readSettings(file: string, prefix = ""): Readonly<Record<string, string>> {
  const source = readFileSync(fileURLToPath(new URL(`../src/config/compile/${file}`, import.meta.url)), "utf8");
  const pairs = [...source.matchAll(/^\s+(\w+): .*\b((?:limits|times|budget)\.\w+)/gm)];
  return Object.fromEntries(pairs.map(([, limit, setting]) => [limit, `${prefix}${setting}`]));
}

const LISTENER = readSettings("gateway.ts", "listeners[].");
const SERVICE = readSettings("service.ts");
const CALLOUTS = { concurrent: "concurrent", perSecond: "perSecond", timeoutMs: "timeout" };
const PUBLISH = { perSecond: "capabilities.nats.perSecond", payloadBytes: "capabilities.nats.payload" };
const DRAIN = { graceMs: "drain.grace", tunnelGraceMs: "drain.tunnelGrace" };
const ofCallouts = Object.fromEntries(
  Object.entries(CALLOUTS).map(([limit, name]) => [limit, `capabilities.callouts[].${name}`]),
);

/** Heading, values, the block in which their meanings stand, and what users write for them where they can. */
const LIMIT_GROUPS: readonly (readonly [string, Readonly<Record<string, number>>, string, Readonly<Record<string, string>>?])[] =
  [
    ["A downstream connection (per listener)", { ...limits.DEFAULT_HTTP_LIMITS }, "HttpLimits", LISTENER],
    ["Times of a downstream connection (per listener)", { ...limits.DEFAULT_DOWNSTREAM_TIMES }, "DownstreamTimes", LISTENER],
    ["An upstream (per service and worker)", { ...limits.DEFAULT_UPSTREAM_LIMITS }, "UpstreamLimits", SERVICE],
    ["A filter (per filter)", { ...limits.DEFAULT_FILTER_BUDGET }, "FilterBudget", readSettings("filter.ts")],
    ["The codec (fixed)", limits.CODEC_LIMITS, "CODEC_LIMITS"],
    ["Data that comes at once (fixed)", limits.ARRIVAL_LIMITS, "ARRIVAL_LIMITS"],
    ["Streams of TCP (fixed)", limits.STREAM_LIMITS, "STREAM_LIMITS"],
    ["Open files (fixed)", limits.DESCRIPTOR_LIMITS, "DESCRIPTOR_LIMITS"],
    ["Finding the route of a request (fixed)", limits.ROUTING_LIMITS, "ROUTING_LIMITS"],
    ["The PROXY protocol (fixed)", limits.PROXY_HEADER_LIMITS, "PROXY_HEADER_LIMITS"],
    ["What the work of the host costs a filter, in its fuel (fixed)", limits.HOST_WORK, "HOST_WORK"],
    ["The filter host (fixed)", limits.PROXY_WASM_LIMITS, "PROXY_WASM_LIMITS"],
    ["Isolated filters (fixed)", limits.ISOLATION_LIMITS, "ISOLATION_LIMITS"],
    ["Attributes that filters set (fixed)", limits.SET_ATTRIBUTE_LIMITS, "SET_ATTRIBUTE_LIMITS"],
    ["Words about items of shared queues (fixed)", limits.QUEUE_LIMITS, "QUEUE_LIMITS"],
    ["Heads that filters write (fixed)", limits.FILTER_HEAD_LIMITS, "FILTER_HEAD_LIMITS"],
    ["A filter's calls to one service (per filter)", { ...limits.DEFAULT_CALLOUT_LIMITS }, "CalloutLimits", ofCallouts],
    ["What a filter publishes on one subject (per filter)", limits.DEFAULT_PUBLISH_LIMITS, "DEFAULT_PUBLISH_LIMITS", PUBLISH],
    ["Capabilities (fixed)", limits.CAPABILITY_LIMITS, "CAPABILITY_LIMITS"],
    ["Components (fixed)", limits.COMPONENT_LIMITS, "COMPONENT_LIMITS"],
    ["Failures of the proxy itself (fixed)", limits.BUG_LIMITS, "BUG_LIMITS"],
    ["Plug-ins of Extism (fixed)", limits.EXTISM_LIMITS, "EXTISM_LIMITS"],
    ["Modules that are metered (fixed)", limits.METER_LIMITS, "METER_LIMITS"],
    ["Modules that are prepared (fixed)", limits.PREPARE_LIMITS, "PREPARE_LIMITS"],
    ["Starts of filters that are kept (fixed)", limits.KEPT_START_LIMITS, "KEPT_START_LIMITS"],
    ["OCI registries (fixed)", limits.OCI_LIMITS, "OCI_LIMITS"],
    ["What changes of configuration may hold (fixed)", limits.CONTROL_LIMITS, "CONTROL_LIMITS"],
    ["Trials of filters (fixed)", limits.TRIAL_LIMITS, "TRIAL_LIMITS"],
    ["Texts of configuration (fixed)", limits.CONFIG_LIMITS, "CONFIG_LIMITS"],
    ["JWT verification (fixed)", limits.JWT_LIMITS, "JWT_LIMITS"],
    ["Name resolution (fixed)", limits.DNS_LIMITS, "DNS_LIMITS"],
    ["Compression (fixed)", limits.COMPRESSION_LIMITS, "COMPRESSION_LIMITS"],
    ["Events (fixed)", limits.EVENT_LIMITS, "EVENT_LIMITS"],
    ["Log lines of filters (fixed)", limits.FILTER_LOG_LIMITS, "FILTER_LOG_LIMITS"],
    ["Spans that are exported (fixed, per worker)", limits.TRACE_LIMITS, "TRACE_LIMITS"],
    ["Stopping (Mesh)", limits.DRAIN_TIMES, "DRAIN_TIMES", DRAIN],
  ];

function showValue(name: string, value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "none";
  if (/[bB]ytes$/.test(name)) return formatSize(value);
  return /Ms$/.test(name) ? formatDuration(value) : value.toLocaleString("en-US");
}

function renderLimits(): string {
  const meanings = readMeanings();
  const parts = LIMIT_GROUPS.map(([title, values, block, settings]) => {
    const rows = Object.entries(values).map(([name, value]) => [
      ...(settings === undefined ? [] : [settings[name] === undefined ? "fixed" : `\`${settings[name]}\``]),
      `\`${name}\``,
      showValue(name, value),
      meanings.get(`${block}.${name}`) ?? "",
    ]);
    const head = settings === undefined ? [] : ["setting"];
    return `### ${title}\n\n${tableOf([...head, "limit", "default", "meaning"], rows)}`;
  });
  return parts.join("\n\n");
}

function renderPermissions(): string {
  const text = natsPermissions({
    control: { user: "control", password: "<bcrypt hash of its password>" },
    proxies: [{ id: "edge-1", password: "<bcrypt hash of its password>" }],
    publishers: [{ user: "deploy", password: "<bcrypt hash of its password>", read: true }],
  });
  return `\`\`\`\n${text}\`\`\``;
}

/** Generated parts by the name in their marks. */
const PARTS: Readonly<Record<string, () => string>> = {
  metrics: () => renderMetrics(METRICS),
  "control metrics": () => renderMetrics(CONTROL_METRICS),
  failures: renderFailures,
  events: () =>
    tableOf(
      ["event", "meaning"],
      Object.entries(EVENT_KINDS).map(([kind, says]) => [`\`${kind}\``, says]),
    ),
  limits: renderLimits,
  permissions: renderPermissions,
};

/** A page with its generated parts made anew. Throws an `Error` when a mark is missing. */
export function renderOperations(page: string): string {
  let text = page;
  for (const [name, render] of Object.entries(PARTS)) {
    const [open, close] = [`<!-- generated: ${name} -->\n`, `\n<!-- end: ${name} -->`];
    const [start, end] = [text.indexOf(open), text.indexOf(close)];
    if (start < 0 || end < 0) throw new Error(`docs/operations.md has no marks for ${name}`);
    text = `${text.slice(0, start + open.length)}${render()}${text.slice(end)}`;
  }
  return text;
}
