import type { ConfigIssue } from "../../config/issue.ts";
import { type Command, type CommandContext, EXIT } from "../command.ts";
import { compileNamedFiles } from "../compile-files.ts";
import { paintOf, printIssues, printJson, printWarnings } from "../report.ts";
import { REGISTRY_FLAGS } from "../serve-flags.ts";

export const command: Command = {
  name: "validate",
  summary: "check files without a control plane",
  description:
    "Checks files as an apply would: schema, references, conflicts, certificates, and every filter is loaded with its settings. Environment variables that the files name are read, and modules in OCI registries are pulled. Only these files are looked at: what they name in the mesh (a module by digest, a service) is unknown here, and `selvedge diff -f` asks the control plane. Prints every issue with file, line and column, and a hint.",
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "File, folder, or - for standard input." },
    ...REGISTRY_FLAGS,
  ],
  examples: [{ says: "in CI, before a merge", line: "selvedge validate -f config/" }],
  async run(context) {
    const { issues, warnings, resources } = await check(context);
    const paint = paintOf(context);
    if (context.flags.on("json")) {
      printJson(context, { ok: issues.length === 0, resources, issues, warnings });
      return issues.length === 0 ? EXIT.ok : EXIT.failed;
    }
    printWarnings(context, warnings);
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
  const { checkFilters, filterPlaceOf } = await import("../../config/filter-check.ts");
  const { orderIssues } = await import("../../config/issue.ts");
  const { compiled, resources, partial, issues } = await compileNamedFiles(context);
  const { filters, warnings } = compiled;
  const place = filterPlaceOf(resources, partial);
  const tried = filters.length === 0 ? [] : await checkFilters(compiled, await context.launch.createFilterTrial(), place);
  return { issues: orderIssues(issues, tried), warnings, resources: resources.length };
}
