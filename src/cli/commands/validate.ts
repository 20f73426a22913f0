import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type ConfigIssue, formatIssue } from "../../config/issue.ts";
import { SystemClock } from "../../core/clock.ts";
import { type Command, type CommandContext, EXIT } from "../command.ts";
import { readNamedFiles } from "../files.ts";
import { paintOf, printIssues, printJson } from "../report.ts";
import { printable } from "../terminal.ts";

export const command: Command = {
  name: "validate",
  summary: "check files without a control plane",
  description:
    "Checks files as an apply would: schema, references, conflicts, certificates, and every filter is loaded with its settings. Environment variables that the files name are read. Prints every issue with file, line and column, and a hint.",
  flags: [{ name: "file", short: "f", type: "list", value: "<path>", help: "File, folder, or - for standard input." }],
  examples: [{ says: "in CI, before a merge", line: "selvedge validate -f config/" }],
  async run(context) {
    const { issues, warnings, resources } = await check(context);
    const paint = paintOf(context);
    if (context.flags.on("json")) {
      printJson(context, { ok: issues.length === 0, resources, issues, warnings });
      return issues.length === 0 ? EXIT.ok : EXIT.failed;
    }
    for (const warning of warnings) context.terminal.error(`${paint.yellow("!")} ${printable(formatIssue(warning))}\n`);
    printIssues(context, issues);
    if (issues.length > 0) return EXIT.failed;
    context.terminal.out(`${paint.green("✓")} ${resources} ${resources === 1 ? "resource is" : "resources are"} valid\n`);
    return EXIT.ok;
  },
};

interface Checked {
  readonly issues: readonly ConfigIssue[];
  readonly warnings: readonly ConfigIssue[];
  readonly resources: number;
}

async function check(context: CommandContext): Promise<Checked> {
  const { parseResources } = await import("../../config/parse.ts");
  const { compileSnapshot, locatorOf } = await import("../../config/compile.ts");
  const { builtinModules } = await import("../../config/modules.ts");
  const { checkFilters, filterPlaceOf } = await import("../../config/filter-check.ts");
  const { cwd, env } = context.terminal;
  const parsed = (await readNamedFiles(context)).map(({ file, text }) => parseResources(text, { file, env }));
  const resources = parsed.flatMap((each) => each.resources);
  const compiled = compileSnapshot(
    resources.map((each) => each.resource),
    {
      revision: 1,
      modules: builtinModules(),
      readFile: (path, from) => readFileSync(resolve(cwd, from.startsWith("<") ? "." : dirname(from), path)),
      locate: locatorOf(resources),
      refused: parsed.flatMap((each) => each.refused),
      nowMs: new SystemClock().wallMs(),
    },
  );
  const issues = [...parsed.flatMap((each) => each.issues), ...compiled.issues];
  if (compiled.filters.length > 0) {
    const tryFilter = await context.launch.createFilterTrial();
    issues.push(...(await checkFilters(compiled, tryFilter, filterPlaceOf(resources))));
  }
  return { issues, warnings: compiled.warnings, resources: resources.length };
}
