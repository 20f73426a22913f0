import type { ApplyOutcome } from "../control/control.ts";
import type { WaitOutcome } from "../control/model/proxies.ts";
import { type CommandContext, EXIT, type FlagSpec } from "./command.ts";
import type { RemoteControl } from "./remote.ts";
import { issueLine, type OutcomeView, paintOf, printJson, reportOutcome } from "./report.ts";
import { printable } from "./terminal.ts";

/** For commands that can wait until all proxies serve a revision. */
export const WAIT_FLAGS: readonly FlagSpec[] = [
  { name: "wait", type: "switch", help: "Return once every live proxy serves the revision." },
  { name: "timeout", type: "number", value: "<seconds>", default: 30, min: 1, help: "How long --wait waits, in seconds." },
  { name: "proxies", type: "number", value: "<count>", default: 0, help: "--wait also waits until there are this many proxies." },
];

const secondsOf = ({ flags }: CommandContext): number => flags.number("timeout") ?? 30;

const wait = (context: CommandContext, remote: RemoteControl, revision: number): Promise<WaitOutcome> =>
  remote.waitApplied(revision, secondsOf(context) * 1000, context.flags.number("proxies") ?? 0);

function exitOf({ ok, rejected }: WaitOutcome): number {
  if (ok) return EXIT.ok;
  return rejected.length > 0 ? EXIT.failed : EXIT.unreachable;
}

/** Says what an apply or a rollback did and, with --wait, how that ended: with --json in one document. */
export async function reportApplied(
  context: CommandContext,
  remote: RemoteControl,
  outcome: ApplyOutcome,
  view: OutcomeView = {},
): Promise<number> {
  const { flags } = context;
  if (!outcome.ok || !flags.on("wait") || view.dryRun) return reportOutcome(context, outcome, view);
  if (!flags.on("json")) {
    reportOutcome(context, outcome, view);
    return reportWait(context, remote, outcome.revision);
  }
  const waited = await wait(context, remote, outcome.revision).catch((error: unknown) => {
    // What was applied is applied, whether or not the rest can be asked.
    reportOutcome(context, outcome, view);
    throw error;
  });
  reportOutcome(context, outcome, { ...view, wait: waited });
  return exitOf(waited);
}

/** Waits and says how it ended. `revision` 0: the newest. */
export async function reportWait(context: CommandContext, remote: RemoteControl, revision: number): Promise<number> {
  const { flags, terminal } = context;
  const paint = paintOf(context);
  const outcome = await wait(context, remote, revision);
  if (flags.on("json")) {
    printJson(context, outcome);
    return exitOf(outcome);
  }
  if (outcome.ok) {
    terminal.out(`${paint.green("✓")} every proxy serves it\n`);
    return EXIT.ok;
  }
  for (const { id, issues } of outcome.rejected) {
    terminal.error(`${paint.red("✗")} ${printable(id)} refused it\n`);
    for (const issue of issues) terminal.error(`    ${issueLine({ terminal }, issue)}\n`);
  }
  if (outcome.rejected.length > 0) return exitOf(outcome);
  const missing = outcome.pending.length === 0 ? "no proxy is there" : `still waiting for ${outcome.pending.join(", ")}`;
  terminal.error(`${paint.red("✗")} after ${secondsOf(context)} s: ${printable(missing)}\n`);
  return exitOf(outcome);
}
