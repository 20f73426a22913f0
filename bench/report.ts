import type { Report, Row } from "./proxies.ts";

/** Renderings of a bench report: a table for the terminal, Markdown and a chart for the documentation. */

const COLUMNS = ["proxy", "us CPU/request", "× nginx", "requests/s", "p50 ms", "p99 ms", "RSS MB", "failed"] as const;

/** The design's budgets, as ratios to nginx in the same round. */
const BUDGETS: Readonly<Record<string, number>> = { plain: 1.25, tls: 1.0, filters: 1.5 };

function cells(row: Row): string[] {
  return [
    row.name,
    row.microsPerRequest.toFixed(1),
    row.toNginx.toFixed(2),
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

export function renderTable(report: Report): string {
  const lines: string[] = [];
  for (const [scenario, rows] of byScenario(report)) {
    lines.push("", `${scenario} (budget for selvedge: ${BUDGETS[scenario]} × nginx)`);
    const table = [[...COLUMNS], ...rows.map(cells)];
    const widths = COLUMNS.map((_, i) => Math.max(...table.map((line) => (line[i] as string).length)));
    for (const line of table) lines.push(`  ${line.map((cell, i) => cell.padStart(widths[i] as number)).join("  ")}`);
  }
  return `${lines.join("\n")}\n`;
}

export function renderMarkdown(report: Report): string {
  const lines = [
    "# Benchmarks",
    "",
    `${report.date}, ${report.machine}. Bun ${report.versions.bun}, nginx ${report.versions.nginx}, HAProxy ${report.versions.haproxy}, Envoy ${report.versions.envoy}.`,
    "",
    `Each proxy has one worker, the same duties (access log to a file, forwarding headers, kept connections upstream) and the same`,
    `service behind it (nginx, 56 bytes). ${report.rounds} interleaved rounds of ${report.secondsPerRound} s with 32 connections (wrk); the figures are medians. CPU is user and`,
    "system time of all processes of the proxy. The ratio to nginx is taken within each round: absolute values move with the machine.",
    "Latency is measured at half the rate of the slowest (h2load, 16 connections). In the `filters` scenario Selvedge runs its three",
    "built-in WASM filters (rate limit, authorization, transformation), Envoy its own local rate limit and RBAC and the very same",
    "transformation module, nginx none. Made by `npm run bench -- --write`.",
    "",
    "![CPU per request](benchmarks.svg)",
  ];
  for (const [scenario, rows] of byScenario(report)) {
    lines.push("", `## ${scenario}`, "", `| ${COLUMNS.join(" | ")} |`, `|${COLUMNS.map(() => "---").join("|")}|`);
    for (const row of rows) lines.push(`| ${cells(row).join(" | ")} |`);
  }
  return `${lines.join("\n")}\n`;
}

const COLOURS: Readonly<Record<string, string>> = { nginx: "#4c9f70", haproxy: "#6b8cae", envoy: "#b0879b", selvedge: "#d97706" };

export function renderSvg(report: Report): string {
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
