import type { Command } from "../command.ts";
import { ADMIN_FLAGS, CONTROL_FLAGS, LOG_FLAGS, NATS_FLAGS, REGISTRY_FLAGS, WORKERS_FLAG } from "../serve-flags.ts";

export const command: Command = {
  name: "up",
  summary: "start everything on this machine: control plane, gateway, NATS",
  description:
    "Starts a NATS server (found on PATH or in the cache folder; without one an in-process bus takes its place, and says so), a control plane and a gateway, and prints what runs where. The configuration is kept in the state folder: the next start has it back. Ctrl-C stops everything.",
  flags: [
    { name: "file", short: "f", type: "list", value: "<path>", help: "Resources to apply at the start." },
    {
      name: "demo",
      type: "switch",
      help: "Also start two small services and, when nothing is configured yet, a gateway in front of them.",
    },
    {
      name: "http",
      type: "number",
      value: "<port>",
      default: 8080,
      max: 65535,
      help: "HTTP port of the demo gateway, with --demo only; a later start that does not say it leaves it where it was.",
    },
    { name: "https", type: "number", value: "<port>", default: 8443, max: 65535, help: "The same for HTTPS." },
    { name: "nats-listen", type: "text", value: "<address>", default: "127.0.0.1:4222", help: "Where the NATS server listens." },
    {
      name: "nats",
      type: "text",
      value: "<url>",
      help: "Use this NATS server instead of starting one; `off` for the in-process bus.",
    },
    ...NATS_FLAGS,
    ...CONTROL_FLAGS,
    ...ADMIN_FLAGS,
    WORKERS_FLAG,
    {
      name: "state-dir",
      type: "text",
      value: "<folder>",
      default: ".selvedge",
      help: "Folder for configuration and certificates, of one `up` at a time.",
    },
    ...REGISTRY_FLAGS,
    ...LOG_FLAGS,
  ],
  examples: [
    { says: "everything, with something to look at", line: "selvedge up --demo" },
    { says: "everything, with your own configuration", line: "selvedge up -f gateway.yaml" },
  ],
  run: (context) => context.launch.up(context),
};
