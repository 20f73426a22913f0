/** The one entry: `selvedge <command>`, and the processes that a supervisor or a control plane starts with this same file. */
import process from "node:process";
import { TRIAL_VARIABLE, WORKER_VARIABLE } from "./messages.ts";

// Everything is loaded when it is needed: a worker never sees the command line, `selvedge version` never sees the proxy.
if (process.env[WORKER_VARIABLE] !== undefined) {
  const { runWorker } = await import("./worker.ts");
  await runWorker(process.env[WORKER_VARIABLE]);
} else if (process.env[TRIAL_VARIABLE] !== undefined) {
  const { runTrials } = await import("./trial-child.ts");
  runTrials(process.env[TRIAL_VARIABLE]);
} else {
  const { runCommandLine } = await import("../cli/run.ts");
  const { processTerminal } = await import("./terminal.ts");
  const { stopWithParent } = await import("../runtime/process.ts");
  stopWithParent();
  const { LAUNCHERS } = await import("./launchers.ts");
  const terminal = processTerminal();
  const exit = await runCommandLine(process.argv.slice(2), terminal, LAUNCHERS);
  // Pipes may still hold output: exiting at once would cut it.
  await terminal.drained();
  process.exit(exit);
}
