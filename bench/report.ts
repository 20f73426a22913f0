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

/** The design's budgets, as ratios to nginx in the same round; of one filter in microseconds. */
const BUDGETS: Readonly<Record<string, string>> = {
  ...{ plain: "1.25 × nginx", tls: "1.0 × nginx", filters: "1.5 × nginx" },
  filter: "3 us more than without",
};

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

export function alignedTable(table: readonly (readonly string[])[]): string[] {
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
    lines.push("", `${scenario} (budget for selvedge: ${BUDGETS[scenario]})`);
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
    `${report.rounds} interleaved rounds of ${report.secondsPerRound} s a proxy with 32 connections (wrk), in which the proxies take turns of a quarter of a`,
    "second; the figures are medians. CPU is user and system time of all processes of the proxy. The ratio to nginx is taken within each",
    "round, because absolute values move with the machine; `range` is the least and the greatest of these ratios.",
    report.pinned
      ? "Every proxy runs on one core alone, load and service share another."
      : "Proxies, load and service share the cores as the kernel likes.",
    "Latency is measured at half the rate of the slowest (h2load, 16 connections). In the `filters` scenario Selvedge runs its three",
    "built-in WASM filters (rate limit, authorization, transformation), Envoy its own local rate limit and RBAC and the very same",
    "transformation module, nginx none. In the `filter` scenario both run the same small module for proxy-wasm, which reads two headers",
    "and adds one in each direction (bench/filter-guest.ts); nginx has nothing like it and does what it does in `plain`.",
    "",
    "![CPU per request](benchmarks.svg)",
  ];
  for (const [scenario, rows] of byScenario(report)) {
    lines.push("", `### ${scenario} (budget: ${BUDGETS[scenario]})`, "");
    lines.push(...markdownTable([COLUMNS, ...rows.map(cells)]));
    if (scenario === "filter") lines.push("", ...addedLines(report));
  }
  return lines;
}

/** What one filter adds to the CPU of a request: with it less without it. */
function addedLines(report: Report): string[] {
  return ["envoy", "selvedge"].flatMap((name) => {
    const [plain, filter] = (["plain", "filter"] as const).map(
      (scenario) => report.rows.find((row) => row.name === name && row.scenario === scenario)?.microsPerRequest,
    );
    if (plain === undefined || filter === undefined) return [];
    return [
      `${name}: ${filter.toFixed(1)} us with the filter, ${plain.toFixed(1)} without: ${(filter - plain).toFixed(1)} us more.`,
    ];
  });
}

/** What bench/meter.ts says of one runtime. */
interface MeterReport {
  readonly runtime: string;
  readonly rewrites: readonly {
    readonly module: string;
    readonly bytes: number;
    readonly warmMs: number;
    readonly grownPercent: number;
  }[];
  readonly runs: readonly { readonly module: string; readonly kernel: string; readonly addedPercent: number }[];
  readonly calls: readonly { readonly module: string; readonly originalNs: number; readonly setNs: number }[];
  readonly medianPercent: number;
  readonly absent: readonly string[];
}

export interface FilterReport {
  readonly date: string;
  readonly machine: string;
  readonly meter: readonly MeterReport[];
  /** What bench/filter-cost.ts says of each runtime. */
  readonly cost: readonly {
    readonly runtime: string;
    readonly rows: readonly { readonly abi: string; readonly addedUs: number }[];
  }[];
  /** What bench/isolation.ts says of each runtime. */
  readonly isolation?: readonly {
    readonly runtime: string;
    readonly restored: readonly { readonly what: string; readonly us: number }[];
  }[];
}

interface TitledTable {
  readonly title: string;
  readonly table: readonly (readonly string[])[];
}

/** One row a key, one column a runtime. */
function byRuntime<T>(
  head: readonly string[],
  reports: readonly { readonly runtime: string; readonly items: readonly T[] }[],
  keyOf: (item: T) => readonly string[],
  cell: (item: T) => string,
): string[][] {
  const rows = new Map<string, string[]>();
  for (const item of reports.flatMap(({ items }) => items)) {
    const key = keyOf(item);
    const name = key.join("\0");
    if (rows.has(name)) continue;
    const found = reports.map(({ items }) => items.find((each) => keyOf(each).join("\0") === name));
    rows.set(name, [...key, ...found.map((each) => (each === undefined ? "-" : cell(each)))]);
  }
  return [[...head, ...reports.map(({ runtime }) => runtime)], ...rows.values()];
}

export function filterTables({ meter, cost, isolation = [] }: FilterReport): TitledTable[] {
  const of = <T>(items: (report: MeterReport) => readonly T[]): { runtime: string; items: readonly T[] }[] =>
    meter.map((report) => ({ runtime: report.runtime, items: items(report) }));
  const medians = of(({ medianPercent }) => [{ module: "median", kernel: "", addedPercent: medianPercent }]);
  const runs = of(({ runs }) => runs).map(({ runtime, items }, i) => ({
    runtime,
    items: [...items, ...(medians[i]?.items ?? [])],
  }));
  return [
    {
      title: "One filter that reads two headers and adds one in each direction, CPU us per request (budgets: 3, 14, 14)",
      table: byRuntime(
        ["ABI"],
        cost.map(({ runtime, rows }) => ({ runtime, items: rows })),
        ({ abi }) => [abi],
        ({ addedUs }) => addedUs.toFixed(2),
      ),
    },
    {
      title:
        "An isolated instance put back after 64 KiB were written, CPU us (budget: 50; docs/adr/0006 says for which memories)",
      table: byRuntime(
        ["memory and way"],
        isolation.map(({ runtime, restored }) => ({ runtime, items: restored })),
        ({ what }) => [what],
        ({ us }) => us.toFixed(1),
      ),
    },
    {
      title: "Metered code, percent slower than the original (budget: 15 at the median)",
      table: byRuntime(
        ["module", "work"],
        runs,
        ({ module, kernel }) => [module, kernel],
        ({ addedPercent }) => addedPercent.toFixed(1),
      ),
    },
    {
      title: "A call of a guest, metered and its fuel set, ns more than the original (budget: 110)",
      table: byRuntime(
        ["module"],
        of(({ calls }) => calls),
        ({ module }) => [module],
        ({ originalNs, setNs }) => (setNs - originalNs).toFixed(0),
      ),
    },
    {
      title: "Rewriting, ms when warm (budgets: 5 for 100 KB, 500 for 25 MB)",
      table: byRuntime(
        ["module", "bytes"],
        of(({ rewrites }) => rewrites),
        ({ module, bytes }) => [module, String(bytes)],
        ({ warmMs }) => warmMs.toFixed(1),
      ),
    },
  ];
}

function filterSection(report: FilterReport): string[] {
  const absent = [...new Set(report.meter.flatMap((each) => each.absent))];
  return [
    "## Filters",
    "",
    `${report.date}, ${report.machine}. Without a network, in CPU time of the thread; the quickest`,
    "round of each counts (bench/filter-cost.ts); of bench/isolation.ts the median, of bench/meter.ts that of neighbouring turns.",
    ...(absent.length > 0 ? ["", `Absent: ${absent.join("; ")}.`] : []),
    ...filterTables(report).flatMap(({ title, table }) => ["", `### ${title}`, "", ...markdownTable(table)]),
  ];
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
  const filters = readReport<FilterReport>(folder, "benchmarks-filters.json");
  if (filters !== undefined) lines.push("", ...filterSection(filters));
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
