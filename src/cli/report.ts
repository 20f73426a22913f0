import { type ConfigIssue, formatIssue } from "../config/issue.ts";
import type { ApplyOutcome } from "../control/control.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
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

export interface OutcomeView {
  /** Where in what was given an issue is. */
  readonly place?: ((issue: ConfigIssue) => ConfigIssue) | undefined;
  readonly dryRun?: boolean;
  /** What became of it in the proxies: part of the same document with --json. */
  readonly wait?: WaitOutcome;
}

/** Says what an apply, delete, rollback or restore did, or would do; the exit code follows from it. */
export function reportOutcome(
  context: CommandContext,
  outcome: ApplyOutcome,
  { place = (issue) => issue, dryRun = false, wait }: OutcomeView = {},
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
    printJson(context, { ...outcome, ...(warnings === undefined ? {} : { warnings }), ...(wait === undefined ? {} : { wait }) });
    return EXIT.ok;
  }
  printWarnings(context, warnings ?? []);
  const would = dryRun ? "would be " : "";
  for (const { key, kind } of outcome.changes) terminal.out(`${printable(shortName(key))} ${paint.green(`${would}${kind}`)}\n`);
  if (outcome.changes.length === 0) terminal.out(dryRun ? "nothing would change\n" : "nothing changed\n");
  terminal.out(dryRun ? `dry run: it stays at revision ${outcome.revision}\n` : `revision ${outcome.revision}\n`);
  return EXIT.ok;
}
