import type { Launchers } from "../cli/command.ts";

/** The commands that start servers, loaded when they are run. */
export const LAUNCHERS: Launchers = {
  proxy: async (context) => (await import("./run-proxy.ts")).runProxy(context),
  control: async (context) => (await import("./run-control.ts")).runControl(context),
  up: async (context) => (await import("./up.ts")).runUp(context),
};
