import { SystemClock } from "../../core/clock.ts";
import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import { openTable } from "../filter/open-table.ts";
import { findTables } from "../filter/project.ts";
import { runTable, type TestResult } from "../filter/table-run.ts";
import { paintOf, printJson } from "../report.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "filter test",
  summary: "run a filter's table of requests and expectations",
  description:
    "Runs tables (*.test.yaml of a folder, or the file named) against the real filter host, without a server: requests and upstream answers go through the filter in memory and in virtual time. Prints every expectation that does not hold with its line and column. Ends with 1 when one does not hold, with 2 when a table cannot be read.",
  arguments: "<folder|file.yaml>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "only", type: "text", value: "<text>", help: "Only tests with this in their name." },
    { name: "logs", type: "switch", help: "Also show what filters logged in tests that passed." },
  ],
  examples: [
    { says: "a filter's folder", line: "selvedge filter test geo" },
    { says: "one test of one table", line: "selvedge filter test geo/geo.test.yaml --only private" },
  ],
  async run(context) {
    const reports: TableReport[] = [];
    for (const file of findTables(context, context.args[0] ?? "")) reports.push(await testTable(context, file));
    const results = reports.flatMap((report) => report.results);
    const failed = results.filter(({ failures }) => failures.length > 0).length;
    if (context.flags.on("json")) printJson(context, reportJson(reports, failed));
    else printSummary(context, results.length - failed, failed);
    if (results.length === 0) throw new CommandError("no test was run", "--only fits no name", EXIT.usage);
    return failed === 0 ? EXIT.ok : EXIT.failed;
  },
};

interface TableReport {
  readonly file: string;
  readonly results: readonly TestResult[];
}

async function testTable(context: CommandContext, file: string): Promise<TableReport> {
  const input = openTable(context, file);
  const results: TestResult[] = [];
  const clock = new SystemClock();
  let startMs = clock.nowMs();
  await runTable(input, context.flags.text("only"), (result) => {
    results.push(result);
    if (!context.flags.on("json")) printResult(context, file, result, clock.nowMs() - startMs);
    startMs = clock.nowMs();
  });
  return { file, results };
}

/** Of the log of a test; a runtime that dies writes its whole stack. */
const LINES_SHOWN = 20;

function printResult(context: CommandContext, file: string, result: TestResult, ms: number): void {
  const { terminal, flags } = context;
  const paint = paintOf(context);
  const good = result.failures.length === 0;
  const mark = good ? paint.green("✓") : paint.red("✗");
  terminal.out(`${mark} ${printable(result.name)} ${paint.dim(`${Math.round(ms)} ms`)}\n`);
  for (const { line, column, path, expected, actual } of result.failures) {
    terminal.out(`  ${printable(file)}:${line}:${column} ${printable(path)}\n`);
    terminal.out(`    expected: ${paint.green(printable(expected))}\n    actual:   ${paint.red(printable(actual))}\n`);
  }
  if (good && !flags.on("logs")) return;
  for (const { level, text } of result.logs.slice(0, LINES_SHOWN))
    terminal.out(paint.dim(`    log ${level}: ${printable(text)}\n`));
  const more = result.logs.length - LINES_SHOWN;
  if (more > 0) terminal.out(paint.dim(`    … ${more} more lines\n`));
}

function printSummary(context: CommandContext, passed: number, failed: number): void {
  const paint = paintOf(context);
  const parts = [paint.green(`${passed} passed`), ...(failed === 0 ? [] : [paint.red(`${failed} failed`)])];
  context.terminal.out(`${parts.join(", ")}\n`);
}

function reportJson(reports: readonly TableReport[], failed: number): unknown {
  const tests = reports.flatMap(({ file, results }) =>
    results.map(({ failures, ...rest }) => ({ file, ...rest, ok: failures.length === 0, failures })),
  );
  return { ok: failed === 0, passed: tests.length - failed, failed, tests };
}
