import { type ConfigIssue, formatIssue } from "../config/issue.ts";
import type { ApplyOutcome } from "../control/control.ts";
import { jsonText } from "../core/json-text.ts";
import { type CommandContext, EXIT } from "./command.ts";
import { asTyped } from "./program.ts";
import { choosePaint, type Paint, printable } from "./terminal.ts";

export function paintOf({ flags, terminal }: CommandContext): Paint {
  return choosePaint(terminal, flags.choice("color"));
}

export function printJson({ terminal }: CommandContext, value: unknown): void {
  terminal.out(`${jsonText(value, 2)}\n`);
}

/** `default/` is left out, as people write names. */
export function shortName(key: string): string {
  return key.replace(/^([^/]+)\/default\//, "$1/");
}

/** One line for an issue; commands in its hint as the user can type them. */
export function issueLine({ terminal }: Pick<CommandContext, "terminal">, issue: ConfigIssue): string {
  return printable(formatIssue({ ...issue, hint: asTyped(issue.hint, terminal) }));
}

/** Every issue on its line, to the error stream. */
export function printIssues(context: CommandContext, issues: readonly ConfigIssue[]): void {
  const paint = paintOf(context);
  for (const issue of issues) context.terminal.error(`${paint.red("✗")} ${issueLine(context, issue)}\n`);
}

/** The same of what does not stop anything. */
export function printWarnings(context: CommandContext, warnings: readonly ConfigIssue[]): void {
  const paint = paintOf(context);
  for (const warning of warnings) context.terminal.error(`${paint.yellow("!")} ${issueLine(context, warning)}\n`);
}

/** Says what an apply, delete, rollback or restore did; the exit code follows from it. */
export function reportOutcome(
  context: CommandContext,
  outcome: ApplyOutcome,
  place: (issue: ConfigIssue) => ConfigIssue = (issue) => issue,
): number {
  const { terminal, flags } = context;
  const paint = paintOf(context);
  if (!outcome.ok) {
    const issues = outcome.issues.map(place);
    if (flags.on("json")) printJson(context, { ...outcome, issues });
    else {
      printIssues(context, issues);
      terminal.error(
        `${paint.red("refused:")} ${issues.length} ${issues.length === 1 ? "issue" : "issues"}; nothing was changed\n`,
      );
    }
    return outcome.reason === "not_found" ? EXIT.notFound : EXIT.failed;
  }
  const warnings = outcome.warnings?.map(place);
  if (flags.on("json")) {
    printJson(context, { ...outcome, ...(warnings === undefined ? {} : { warnings }) });
    return EXIT.ok;
  }
  printWarnings(context, warnings ?? []);
  for (const change of outcome.changes) terminal.out(`${printable(shortName(change.key))} ${paint.green(change.kind)}\n`);
  if (outcome.changes.length === 0) terminal.out("nothing changed\n");
  terminal.out(`revision ${outcome.revision}\n`);
  return EXIT.ok;
}
