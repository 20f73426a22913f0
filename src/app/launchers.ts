import type { Launchers } from "../cli/command.ts";
import { SystemClock } from "../core/clock.ts";
import { SILENT_LOG } from "../core/log.ts";

/** What commands need of this folder, loaded when it is used. */
export const LAUNCHERS: Launchers = {
  proxy: async (context) => (await import("./run-proxy.ts")).runProxy(context),
  control: async (context) => (await import("./run-control.ts")).runControl(context),
  up: async (context) => (await import("./up.ts")).runUp(context),
  createFilterTrial: async () => (await import("./filters.ts")).createFilterTrial(new SystemClock(), SILENT_LOG),
  createFilterHost: async (parts) => {
    const { createFilterHost, ownCounters } = await import("./filters.ts");
    return createFilterHost({ ...parts, counters: ownCounters() });
  },
};
