/**
 * Puts together what bench/meter.ts, bench/filter-cost.ts and bench/isolation.ts found on each runtime: `bun bench/filters-report.ts FILE [--json] [--write]`.
 * FILE has what each printed with `--json`, a line each. `--write` makes docs/benchmarks-filters.json and docs/benchmarks.md.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { describeMachine } from "./measure.ts";
import { alignedTable, type FilterReport, filterTables, writeDocument } from "./report.ts";

const file = process.argv.slice(2).find((each) => !each.startsWith("--"));
if (file === undefined) throw new Error("usage: bun bench/filters-report.ts FILE [--json] [--write]");
const found = readFileSync(file, "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line));
const report: FilterReport = {
  ...describeMachine(),
  meter: found.filter((each) => "runs" in each),
  cost: found.filter((each) => "rows" in each),
  isolation: found.filter((each) => "restored" in each),
};
if (process.argv.includes("--json")) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
else for (const { title, table } of filterTables(report)) process.stdout.write(`${title}\n${alignedTable(table).join("\n")}\n\n`);
if (process.argv.includes("--write")) {
  const docs = join(dirname(import.meta.dir), "docs");
  writeFileSync(join(docs, "benchmarks-filters.json"), `${JSON.stringify(report, undefined, 2)}\n`);
  writeDocument(docs);
}
