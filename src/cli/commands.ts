import type { Command } from "./command.ts";
import { FILTER_COMMANDS } from "./filter/commands.ts";

/** A command that is loaded when it is needed. */
export interface CommandEntry {
  /** As it is typed: `routes`, `filter test`. */
  readonly name: string;
  readonly summary: string;
  load(): Promise<{ command: Command }>;
}

/** Commands that share their first word. */
export interface CommandGroup {
  readonly name: string;
  readonly summary: string;
  /** One sentence for the help of the group. */
  readonly description: string;
  readonly parts: readonly CommandEntry[];
}

/** Every command with its summary; the rest is loaded when it is needed. In the order of the help text. */
export const COMMANDS: readonly (CommandEntry | CommandGroup)[] = [
  {
    name: "up",
    summary: "Start everything on this machine: control plane, gateway, NATS",
    load: () => import("./commands/up.ts"),
  },
  { name: "proxy", summary: "Run a proxy, as gateway or sidecar", load: () => import("./commands/proxy.ts") },
  { name: "control", summary: "Run a control plane", load: () => import("./commands/control.ts") },
  { name: "apply", summary: "Create or change resources", load: () => import("./commands/apply.ts") },
  { name: "delete", summary: "Delete resources", load: () => import("./commands/delete.ts") },
  { name: "get", summary: "Show resources", load: () => import("./commands/get.ts") },
  { name: "validate", summary: "Check files without a control plane", load: () => import("./commands/validate.ts") },
  {
    name: "diff",
    summary: "Show what an apply would change, or what lies between two revisions",
    load: () => import("./commands/diff.ts"),
  },
  { name: "status", summary: "Show which proxy serves what, or wait until all do", load: () => import("./commands/status.ts") },
  {
    name: "health",
    summary: "Ask the proxy or control plane of this machine whether it is well",
    load: () => import("./commands/health.ts"),
  },
  { name: "history", summary: "List the last applies, or show what one changed", load: () => import("./commands/history.ts") },
  { name: "rollback", summary: "Bring an earlier configuration back", load: () => import("./commands/rollback.ts") },
  { name: "backup", summary: "Write the whole configuration to a file", load: () => import("./commands/backup.ts") },
  { name: "restore", summary: "Bring a backup back", load: () => import("./commands/restore.ts") },
  { name: "config-dump", summary: "Show what a proxy serves, without secrets", load: () => import("./commands/config-dump.ts") },
  { name: "routes", summary: "Explain which route a request takes", load: () => import("./commands/routes.ts") },
  FILTER_COMMANDS,
  {
    name: "permissions",
    summary: "Print the users and permissions for a nats-server",
    load: () => import("./commands/permissions.ts"),
  },
  { name: "schema", summary: "Print JSON Schema of the resources", load: () => import("./commands/schema.ts") },
  { name: "version", summary: "Print the version", load: () => import("./commands/version.ts") },
  { name: "completion", summary: "Print a completion script for a shell", load: () => import("./commands/completion.ts") },
];

/** Every command that can be run, those of groups included. */
export const RUNNABLE: readonly CommandEntry[] = COMMANDS.flatMap((each) => ("parts" in each ? each.parts : [each]));

export async function loadAllCommands(): Promise<readonly Command[]> {
  return Promise.all(RUNNABLE.map(async (each) => (await each.load()).command));
}
