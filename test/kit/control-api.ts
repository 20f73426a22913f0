import { builtinModules } from "../../src/config/modules.ts";
import { createControlApi } from "../../src/control/api/app.ts";
import { createControlPlane } from "../../src/control/create.ts";
import { SystemClock } from "../../src/core/clock.ts";
import { SILENT_LOG } from "../../src/core/log.ts";
import { SeededRng } from "../../src/core/rng.ts";

/** A control plane in memory and its API, on a port of its own. */
export async function serveControlApi() {
  const plane = createControlPlane({
    ...{ backend: { kind: "memory" }, modules: builtinModules(new Map()), version: "t" },
    ...{ clock: new SystemClock(), rng: new SeededRng(1), log: SILENT_LOG },
  });
  await plane.start();
  const api = createControlApi({ plane, version: "t", guard: () => undefined, log: SILENT_LOG, metrics: async () => "" });
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => api.fetch(request) });
  const stop = async (): Promise<void> => {
    await server.stop(true);
    await plane.stop();
  };
  return { plane, url: `http://127.0.0.1:${server.port}`, stop };
}
