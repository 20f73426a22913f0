import type { Json } from "../config/parse.ts";
import type { Change } from "../control/store/store.ts";
import type { CommandContext } from "./command.ts";
import { diffLines } from "./diff-lines.ts";
import { paintOf, shortName } from "./report.ts";
import { printable } from "./terminal.ts";

/** A resource before and after as YAML, with `+` and `-` in front of the lines that differ. */
export async function printChange(context: CommandContext, change: Change): Promise<void> {
  const { stringify } = await import("yaml");
  const paint = paintOf(context);
  const text = (resource: Json | undefined): string[] =>
    resource === undefined ? [] : stringify(resource, { sortMapEntries: true }).trimEnd().split("\n");
  context.terminal.out(`${paint.bold(printable(shortName(change.key)))}\n`);
  for (const { kind, line } of diffLines(text(change.before), text(change.after))) {
    const painted =
      kind === "+"
        ? paint.green(`+ ${printable(line)}`)
        : kind === "-"
          ? paint.red(`- ${printable(line)}`)
          : `  ${printable(line)}`;
    context.terminal.out(`${painted}\n`);
  }
}
