import { formatSize } from "../../config/schema/units.ts";
import { SystemClock } from "../../core/clock.ts";
import { describeCause } from "../../core/failure.ts";
import { type Command, type CommandContext, CommandError, EXIT } from "../command.ts";
import { type BenchResult, benchExchange } from "../filter/bench.ts";
import { openTable } from "../filter/open-table.ts";
import { findTables } from "../filter/project.ts";
import { compileTest, DEFAULT_ANSWER, DEFAULT_REQUEST, type TableInput } from "../filter/table-run.ts";
import { paintOf, printJson } from "../report.ts";
import { formatTable, printable } from "../terminal.ts";

export const command: Command = {
  name: "filter bench",
  summary: "measure what a filter costs per exchange",
  description:
    "Takes the tests of a filter's table that are one request, and runs each again and again in this process: microseconds per exchange (median and 99th percentile of batches, less an exchange without a filter), calls into the module, fuel (about one for an instruction), and its memory against its budget. Times are of this machine at this moment: compare runs, not machines. Ends with 1 when the filter traps, or a test takes more than --max-us.",
  arguments: "<folder|file.yaml>",
  argumentsMin: 1,
  argumentsMax: 1,
  flags: [
    { name: "only", type: "text", value: "<text>", help: "Only tests with this in their name." },
    { name: "duration", type: "number", value: "<ms>", default: 1000, min: 10, max: 600_000, help: "How long each test is run." },
    { name: "max-us", type: "number", value: "<us>", min: 1, help: "Most that the median may be." },
  ],
  examples: [{ says: "in CI: nobody makes it slow unseen", line: "selvedge filter bench geo --max-us 50" }],
  async run(context) {
    const rows: Row[] = [];
    for (const file of findTables(context, context.args[0] ?? ""))
      rows.push(...(await benchTable(context, openTable(context, file))));
    if (rows.length === 0)
      throw new CommandError("no test was measured", "tests with steps, advance or refused are left out", EXIT.usage);
    const maxUs = context.flags.number("max-us");
    const broken = rows.filter(({ result }) => (result?.traps ?? 0) > 0);
    const slow = rows.filter(({ result }) => maxUs !== undefined && (result?.medianUs ?? 0) > maxUs);
    if (context.flags.on("json"))
      printJson(context, { ok: slow.length + broken.length === 0, tests: rows.map(({ name, result }) => ({ name, ...result })) });
    else print(context, rows);
    for (const { name, result } of broken)
      context.terminal.error(`${paintOf(context).red("✗")} ${printable(name)}: ${printable(result?.lastError ?? "")}\n`);
    for (const { name, result } of slow)
      context.terminal.error(
        `${paintOf(context).red("✗")} ${printable(name)}: ${result?.medianUs.toFixed(1)} us, more than ${maxUs}\n`,
      );
    return slow.length + broken.length === 0 ? EXIT.ok : EXIT.failed;
  },
};

interface Row {
  readonly name: string;
  /** Undefined: it waits for something. */
  readonly result: BenchResult | undefined;
}

async function benchTable(context: CommandContext, input: TableInput): Promise<Row[]> {
  const rows: Row[] = [];
  const only = context.flags.text("only");
  const clock = new SystemClock();
  for (const [i, test] of input.table.tests.entries()) {
    const wanted = only === undefined || test.name.includes(only);
    if (!wanted || test.steps !== undefined || test.refused !== undefined || test.advance !== undefined) continue;
    const [request, answer] = [test.request ?? DEFAULT_REQUEST, test.upstream ?? DEFAULT_ANSWER];
    const durationMs = context.flags.number("duration") ?? 1000;
    try {
      const filter = compileTest(input, ["tests", i]);
      rows.push({ name: test.name, result: await benchExchange(clock, input.createHost, filter, request, answer, durationMs) });
    } catch (error) {
      throw new CommandError(`${test.name}: ${describeCause(error)}`);
    }
  }
  return rows;
}

const LEGEND =
  "US, P99 US: microseconds of an exchange, median and 99th percentile; CALLS into the module, and FUEL (about one an instruction), of an exchange\n";

function print(context: CommandContext, rows: readonly Row[]): void {
  const table = rows.map(({ name, result }) => {
    if (result === undefined) return [name, "-", "-", "-", "-", "-", "-", "waits for something: not measured"];
    const { medianUs, p99Us, callsPerExchange, fuelPerExchange, loadMs, memoryBytes, memoryBudgetBytes, grownBytes } = result;
    const notes: string[] = [];
    if (grownBytes > 0) notes.push(`grew by ${formatSize(grownBytes)} in ${result.exchanges} exchanges`);
    const memory = `${formatSize(memoryBytes)} of ${formatSize(memoryBudgetBytes)}`;
    return [
      name,
      medianUs.toFixed(1),
      p99Us.toFixed(1),
      String(callsPerExchange),
      String(fuelPerExchange ?? "-"),
      loadMs.toFixed(0),
      memory,
      notes.join(", "),
    ];
  });
  const heading = ["TEST", "US", "P99 US", "CALLS", "FUEL", "LOAD MS", "MEMORY", ""];
  context.terminal.out(printable(formatTable([heading, ...table], paintOf(context))));
  context.terminal.out(paintOf(context).dim(LEGEND));
}
