import { type CommandContext, EXIT, type FlagSpec } from "./command.ts";
import type { RemoteControl } from "./remote.ts";
import { issueLine, paintOf, printJson } from "./report.ts";
import { printable } from "./terminal.ts";

/** For commands that can wait until all proxies serve a revision. */
export const WAIT_FLAGS: readonly FlagSpec[] = [
  { name: "wait", type: "switch", help: "Return once every live proxy serves the revision." },
  { name: "timeout", type: "number", value: "<seconds>", default: 30, min: 1, help: "How long --wait waits, in seconds." },
  { name: "proxies", type: "number", value: "<count>", default: 0, help: "--wait also waits until there are this many proxies." },
];

/** Waits and says how it ended. `revision` 0: the newest. */
export async function reportWait(context: CommandContext, remote: RemoteControl, revision: number): Promise<number> {
  const { flags, terminal } = context;
  const paint = paintOf(context);
  const seconds = flags.number("timeout") ?? 30;
  const outcome = await remote.waitApplied(revision, seconds * 1000, flags.number("proxies") ?? 0);
  if (flags.on("json")) printJson(context, outcome);
  if (outcome.ok) {
    if (!flags.on("json")) terminal.out(`${paint.green("✓")} every proxy serves it\n`);
    return EXIT.ok;
  }
  if (flags.on("json")) return outcome.rejected.length > 0 ? EXIT.failed : EXIT.unreachable;
  for (const { id, issues } of outcome.rejected) {
    terminal.error(`${paint.red("✗")} ${printable(id)} refused it\n`);
    for (const issue of issues) terminal.error(`    ${issueLine({ terminal }, issue)}\n`);
  }
  if (outcome.rejected.length > 0) return EXIT.failed;
  const missing = outcome.pending.length === 0 ? "no proxy is there" : `still waiting for ${outcome.pending.join(", ")}`;
  terminal.error(`${paint.red("✗")} after ${seconds} s: ${printable(missing)}\n`);
  return EXIT.unreachable;
}
