import { type CommandContext, CommandError, EXIT } from "../cli/command.ts";
import { natsAddress } from "../cli/nats-address.ts";
import { paintOf } from "../cli/report.ts";
import { VERSION } from "../cli/version.ts";
import { isSubjectToken } from "../config/nats/names.ts";
import type { Owners } from "../control/owners/owners.ts";
import { describeCause } from "../core/failure.ts";
import type { Log } from "../core/log.ts";
import { systemRng } from "../core/rng.ts";
import { readText } from "../runtime/files.ts";
import { processTools, serveUntilSignal } from "./serving.ts";
import { type ControlServer, startControl } from "./start-control.ts";

/** Each once; they become parts of subjects. */
function groupsOf(given: readonly string[]): readonly string[] {
  const bad = given.find((name) => !isSubjectToken(name));
  if (bad !== undefined)
    throw new CommandError(`--groups: ${JSON.stringify(bad)} is no name: letters, digits, - and _`, "", EXIT.usage);
  return given.length === 0 ? ["gateway"] : [...new Set(given)];
}

/** `selvedge control`. Resolves when it was stopped. */
export async function runControl(context: CommandContext): Promise<number> {
  const { flags, terminal } = context;
  const { clock, log } = processTools(context);
  const address = natsAddress(context, flags.text("nats") ?? "");
  const servers = address.servers.join(",");
  const owners = await openOwners(flags.text("owners"), log);
  const groups = groupsOf(flags.list("groups"));
  let control: ControlServer;
  try {
    control = await startControl(
      context,
      { kind: "nats", address },
      { clock, log, rng: systemRng(), groups, owners: owners?.owners },
    );
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(
      `the control plane could not start: ${(error as Error).message}`,
      `is a NATS server with JetStream at ${servers}? --nats names another; \`selvedge up\` brings one`,
    );
  }
  const close = (): Promise<void> => control.close();
  const served = serveUntilSignal({ drain: close, stop: close, reopenLogs: () => void owners?.reload(), log, clock });
  terminal.error(
    `${paintOf(context).bold("selvedge control")} ${VERSION}\n  API     ${control.url}\n  NATS    ${servers}\n  groups  ${groups.join(", ")}\n`,
  );
  return served;
}

/** The file of `--owners`. One that cannot be read ends the start; later the rights before it stay. */
async function openOwners(
  path: string | undefined,
  log: Log,
): Promise<{ readonly owners: Owners; reload(): Promise<void> } | undefined> {
  if (path === undefined) return undefined;
  const { Owners } = await import("../control/owners/owners.ts");
  const { parseOwners } = await import("../control/owners/file.ts");
  const read = () => parseOwners(readText(path), path);
  try {
    const owners = new Owners(await read());
    return {
      owners,
      reload: async () => {
        try {
          owners.replace(await read());
          log.info("the owners were read again", { path });
        } catch (error) {
          log.error("the owners cannot be read; what was read before holds", { path, cause: describeCause(error) });
        }
      },
    };
  } catch (error) {
    throw new CommandError(`--owners: ${describeCause(error)}`, "docs/operations.md shows one", EXIT.usage);
  }
}
