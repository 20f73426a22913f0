import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ConfigReport, ConfigSeries, Quantiles } from "./config.ts";
import type { Report, Row } from "./proxies.ts";

/**
 * Renderings of bench reports: tables for the terminal, and docs/benchmarks.md with its chart. The document is put together
 * from the JSON files of all benches, so that each may be measured by itself.
 */

const COLUMNS = [
  ...(["proxy", "us CPU/request", "user", "system", "× nginx", "range", "requests/s"] as const),
  ...(["p50 ms", "p99 ms", "RSS MB", "failed"] as const),
];

/** The design's budgets, as ratios to nginx in the same round. */
const BUDGETS: Readonly<Record<string, number>> = { plain: 1.25, tls: 1.0, filters: 1.5 };

function cells(row: Row): string[] {
  return [
    row.name,
    row.microsPerRequest.toFixed(1),
    row.userMicros.toFixed(1),
    row.systemMicros.toFixed(1),
    row.toNginx.toFixed(2),
    `${Math.min(...row.ratios).toFixed(2)}-${Math.max(...row.ratios).toFixed(2)}`,
    Math.round(row.requestsPerSecond).toString(),
    row.p50Ms.toFixed(2),
    row.p99Ms.toFixed(2),
    row.residentMegabytes.toFixed(0),
    String(row.failed),
  ];
}

function byScenario(report: Report): [string, Row[]][] {
  const names = [...new Set(report.rows.map((row) => row.scenario))];
  return names.map((name) => [name, report.rows.filter((row) => row.scenario === name)]);
}

function alignedTable(table: readonly (readonly string[])[]): string[] {
  const widths = (table[0] ?? []).map((_, i) => Math.max(...table.map((line) => (line[i] as string).length)));
  return table.map((line) => `  ${line.map((cell, i) => cell.padStart(widths[i] as number)).join("  ")}`);
}

function markdownTable(table: readonly (readonly string[])[]): string[] {
  const [head = [], ...rows] = table;
  return [`| ${head.join(" | ")} |`, `|${head.map(() => "---").join("|")}|`, ...rows.map((row) => `| ${row.join(" | ")} |`)];
}

export function renderTable(report: Report): string {
  const lines: string[] = [];
  for (const [scenario, rows] of byScenario(report)) {
    lines.push("", `${scenario} (budget for selvedge: ${BUDGETS[scenario]} × nginx)`);
    lines.push(...alignedTable([COLUMNS, ...rows.map(cells)]));
  }
  return `${lines.join("\n")}\n`;
}

function proxiesSection(report: Report): string[] {
  const { versions } = report;
  const lines = [
    "## Proxies",
    "",
    `${report.date}, ${report.machine}. Bun ${versions.bun}, nginx ${versions.nginx}, HAProxy ${versions.haproxy}, Envoy ${versions.envoy}.`,
    "",
    "Each proxy has one worker and the same duties: a line of JSON with the same facts in an access log, forwarding headers, a request",
    "id both ways, the same TLS cipher, kept connections upstream (bench/peers.ts). The service behind it is the same (nginx, 56 bytes).",
    `${report.rounds} interleaved rounds of ${report.secondsPerRound} s with 32 connections (wrk), each after a warm-up of its`,
    "own; the figures are medians. CPU is user and system time of all processes of the proxy. The ratio to nginx is taken within each",
    "round, because absolute values move with the machine; `range` is the least and the greatest of these ratios.",
    report.pinned
      ? "Every proxy runs on one core alone, load and service share another."
      : "Proxies, load and service share the cores as the kernel likes.",
    "Latency is measured at half the rate of the slowest (h2load, 16 connections). In the `filters` scenario Selvedge runs its three",
    "built-in WASM filters (rate limit, authorization, transformation), Envoy its own local rate limit and RBAC and the very same",
    "transformation module, nginx none.",
    "",
    "![CPU per request](benchmarks.svg)",
  ];
  for (const [scenario, rows] of byScenario(report)) {
    lines.push("", `### ${scenario} (budget: ${BUDGETS[scenario]} × nginx)`, "");
    lines.push(...markdownTable([COLUMNS, ...rows.map(cells)]));
  }
  return lines;
}

const CONFIG_COLUMNS = [
  ...(["change of one route", "routes", "applied p50 ms", "p90", "p99", "max"] as const),
  ...(["answered p50 ms", "p99", "CPU ms/proxy", "cold", "idle", "JIT", "CPU ms/control"] as const),
];

const shown = (times: Quantiles | undefined, which: keyof Quantiles): string => times?.[which].toFixed(1) ?? "-";

function configCells(series: ConfigSeries): string[] {
  const { applied, answered } = series;
  return [
    series.name,
    String(series.routes),
    ...[shown(applied, "p50"), shown(applied, "p90"), shown(applied, "p99"), shown(applied, "max")],
    ...[shown(answered, "p50"), shown(answered, "p99")],
    ...[series.proxyMs, series.proxyColdMs, series.proxyIdleMs, series.proxyCompilerMs].map((ms) => ms?.toFixed(2) ?? "-"),
    series.controlMs.toFixed(2),
  ];
}

/** What the `nats` command adds: mostly its own start. */
function commandLines(report: ConfigReport): string[] {
  return report.series
    .filter((series) => series.fromCommand !== undefined)
    .map(
      ({ fromCommand, name }) =>
        `${name}: from the start of the command p50 ${shown(fromCommand, "p50")} ms, p99 ${shown(fromCommand, "p99")} ms.`,
    );
}

const MEMORY_COLUMNS = ["process", "RSS MB", "PSS MB", "anonymous MB"] as const;

const memoryTable = (report: ConfigReport): string[][] => [
  [...MEMORY_COLUMNS],
  ...report.idle.map((each) => [each.name, each.resident.toFixed(0), each.proportional.toFixed(0), each.anonymous.toFixed(0)]),
];

export function renderConfigTable(report: ConfigReport): string {
  return [
    "published over NATS → applied by every worker or sidecar (budgets: p50 < 50 ms; 20 sidecars p99 ≤ 50 ms, ≤ 1 ms CPU each)",
    ...alignedTable([CONFIG_COLUMNS, ...report.series.map(configCells)]),
    "CPU ms/proxy is everything; of it, idle is what the processes use in as much time without changes, JIT compiles what runs often",
    ...commandLines(report),
    "",
    "idle for 10 s with one route (budget for a sidecar: 80 MB RSS)",
    ...alignedTable(memoryTable(report)),
    "",
  ].join("\n");
}

function configSection(report: ConfigReport): string[] {
  return [
    "## Configuration over NATS",
    "",
    `${report.date}, ${report.machine}. A real nats-server, a control plane and the proxies, all on this machine. Each change publishes one`,
    "route to `selvedge.config.apply`. `applied` is the time from before the publish until the acknowledgement of the last proxy has",
    "arrived (a gateway acknowledges when all its workers serve the revision); `answered` until a request that was then sent on a new",
    "connection is answered by the new route. With the command, time starts when the message is heard. Budgets: p50 under 50 ms; with",
    "20 sidecars p99 within 50 ms, and 1 ms of CPU per proxy and change. CPU is all that a proxy used in the time of the changes, divided",
    "by them; beside it the same of the changes before them, while the code is still cold, and how much of it the same processes use in as",
    "much time without changes (`idle`) and for compiling what runs often (`JIT`).",
    "",
    ...markdownTable([CONFIG_COLUMNS, ...report.series.map(configCells)]),
    "",
    ...commandLines(report),
    "",
    "## Memory when idle",
    "",
    "After 10 s of quiet with one route, connected to NATS; medians over processes of a kind. RSS counts Bun's own executable, which all",
    "processes share, in each of them; PSS divides what is shared. Budget for a sidecar: 80 MB RSS, better 60.",
    "",
    ...markdownTable(memoryTable(report)),
  ];
}

function readReport<T>(folder: string, name: string): T | undefined {
  const path = join(folder, name);
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as T) : undefined;
}

/** Writes benchmarks.md and benchmarks.svg of the JSON reports that lie in the folder. */
export function writeDocument(folder: string): void {
  const lines = [
    "# Benchmarks",
    "",
    "Made by `npm run bench -- --write`; absolute values depend on the machine, ratios less so.",
  ];
  const proxies = readReport<Report>(folder, "benchmarks.json");
  if (proxies !== undefined) {
    lines.push("", ...proxiesSection(proxies));
    writeFileSync(join(folder, "benchmarks.svg"), renderSvg(proxies));
  }
  const config = readReport<ConfigReport>(folder, "benchmarks-config.json");
  if (config !== undefined) lines.push("", ...configSection(config));
  writeFileSync(join(folder, "benchmarks.md"), `${lines.join("\n")}\n`);
}

const COLOURS: Readonly<Record<string, string>> = { nginx: "#4c9f70", haproxy: "#6b8cae", envoy: "#b0879b", selvedge: "#d97706" };

function renderSvg(report: Report): string {
  const barHeight = 18;
  const rowsHeight = byScenario(report).reduce((sum, [, rows]) => sum + 30 + rows.length * (barHeight + 4), 0);
  const longest = Math.max(...report.rows.map((row) => row.microsPerRequest));
  const parts: string[] = [];
  let y = 24;
  for (const [scenario, rows] of byScenario(report)) {
    parts.push(`<text x="10" y="${y}" font-weight="bold">${scenario}: CPU microseconds per request</text>`);
    y += 10;
    for (const row of rows) {
      const width = Math.max(1, (row.microsPerRequest / longest) * 480);
      parts.push(`<text x="90" y="${y + 13}" text-anchor="end">${row.name}</text>`);
      parts.push(
        `<rect x="100" y="${y}" width="${width.toFixed(1)}" height="${barHeight}" fill="${COLOURS[row.name] ?? "#888"}"/>`,
      );
      parts.push(
        `<text x="${(106 + width).toFixed(1)}" y="${y + 13}">${row.microsPerRequest.toFixed(1)} (${row.toNginx.toFixed(2)} × nginx)</text>`,
      );
      y += barHeight + 4;
    }
    y += 20;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="760" height="${rowsHeight + 20}" font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n${parts.join("\n")}\n</svg>\n`;
}
