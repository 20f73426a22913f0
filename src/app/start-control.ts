import { type CommandContext, CommandError, EXIT } from "../cli/command.ts";
import { VERSION } from "../cli/version.ts";
import type { ControlBackend, CreatedControlPlane } from "../control/options.ts";
import type { Owners } from "../control/owners/owners.ts";
import type { Clock } from "../core/clock.ts";
import type { Log } from "../core/log.ts";
import type { Rng } from "../core/rng.ts";
import { assertGuarded, checkAccess } from "./guard.ts";
import { serveHttp } from "./http-server.ts";
import { parseAddress } from "./serving.ts";

/** A control plane with its API on a port. */
export interface ControlServer {
  readonly plane: CreatedControlPlane;
  readonly url: string;
  close(): Promise<void>;
}

/** Starts both, as the flags `--listen` and `--token` say. Throws a `CommandError` when the port is taken. */
export async function startControl(
  context: CommandContext,
  backend: ControlBackend,
  tools: {
    readonly clock: Clock;
    readonly log: Log;
    readonly rng: Rng;
    /** Proxy groups. Default `["gateway"]`. */
    readonly groups?: readonly string[];
    readonly owners?: Owners | undefined;
  },
): Promise<ControlServer> {
  const { flags } = context;
  const address = parseAddress(flags.text("listen") ?? "", "listen");
  const guard = { host: address.host, token: flags.text("token") };
  try {
    assertGuarded(guard, "--token");
  } catch (error) {
    throw new CommandError((error as Error).message, "", EXIT.usage);
  }
  const { pullerOf } = await import("../cli/registry.ts");
  const { createControlPlane } = await import("../control/create.ts");
  const { createControlApi } = await import("../control/api/app.ts");
  const { builtinModules } = await import("../config/modules.ts");
  const { FilterTrials } = await import("./filter-trials.ts");
  const { createControlMetrics } = await import("../control/metrics.ts");
  const metrics = await createControlMetrics();
  const trials = new FilterTrials(tools);
  const plane = createControlPlane({
    backend,
    observer: metrics,
    modules: builtinModules(),
    tryFilter: trials.tryFilter,
    ...{ pull: pullerOf(context), version: VERSION },
    ...tools,
    log: tools.log.for("control"),
  });
  const api = createControlApi({
    ...{ plane, version: VERSION, guard: (headers: Headers) => checkAccess(headers, guard), log: tools.log },
    metrics: () => metrics.render(plane.status()),
  });
  // The port first: a second control plane on this machine must fail before it touches anything.
  const server = await serveHttp(address, "listen", (request) => api.fetch(request));
  try {
    await plane.start();
  } catch (error) {
    await server.close();
    trials.close();
    throw error;
  }
  return {
    plane,
    url: server.url,
    close: async () => {
      await server.close();
      const stopped = plane.stop();
      // It waits for a change that is under way, and that one for its trial: what came over NATS is not acknowledged, and comes again.
      trials.close();
      await stopped;
    },
  };
}
