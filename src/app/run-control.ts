import { type CommandContext, CommandError } from "../cli/command.ts";
import { paintOf } from "../cli/report.ts";
import { VERSION } from "../cli/version.ts";
import { systemRng } from "../core/rng.ts";
import { natsAddress, processTools, serveUntilSignal } from "./serving.ts";
import { type ControlServer, startControl } from "./start-control.ts";

/** `selvedge control`. Resolves when it was stopped. */
export async function runControl(context: CommandContext): Promise<number> {
  const { flags, terminal } = context;
  const { clock, log } = processTools(context);
  const servers = flags.text("nats") ?? "";
  let control: ControlServer;
  try {
    control = await startControl(
      context,
      { kind: "nats", address: natsAddress(context, servers) },
      { clock, log, rng: systemRng() },
    );
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(
      `the control plane could not start: ${(error as Error).message}`,
      `is a NATS server with JetStream at ${servers}? --nats names another; \`selvedge up\` brings one`,
    );
  }
  terminal.error(`${paintOf(context).bold("selvedge control")} ${VERSION}\n  API   ${control.url}\n  NATS  ${servers}\n`);
  const close = (): Promise<void> => control.close();
  return serveUntilSignal({ drain: close, stop: close, reopenLogs: () => {}, log, clock });
}
