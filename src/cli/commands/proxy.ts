import type { Command } from "../command.ts";
import { ADMIN_FLAGS, LOG_FLAGS, NATS_FLAGS, REGISTRY_FLAGS, WORKERS_FLAG } from "../serve-flags.ts";

export const command: Command = {
  name: "proxy",
  summary: "run a proxy, as gateway or sidecar",
  description:
    "Serves traffic as its configuration says: from files, which are watched, or from a control plane over NATS. A gateway is a supervisor with one worker process per core, a sidecar is one small process. SIGTERM and Ctrl-C drain (twice: stop now), SIGHUP reopens log files.",
  flags: [
    {
      name: "file",
      short: "f",
      type: "list",
      value: "<path>",
      help: "Configuration file or folder; changes are picked up. Instead of --nats.",
    },
    {
      name: "nats",
      type: "text",
      value: "<url>",
      defaultText: "nats://127.0.0.1:4222 without --file",
      help: "NATS server to take snapshots from.",
    },
    ...NATS_FLAGS,
    {
      name: "mode",
      type: "text",
      value: "<mode>",
      default: "gateway",
      choices: ["gateway", "sidecar"],
      help: "Gateway: several workers. Sidecar: one process.",
    },
    WORKERS_FLAG,
    ...ADMIN_FLAGS,
    { name: "id", type: "text", value: "<name>", defaultText: "the host name", help: "Name of this proxy, unique in its mesh." },
    { name: "group", type: "text", value: "<name>", default: "gateway", help: "Proxy group whose snapshots it takes." },
    {
      name: "cache-dir",
      type: "text",
      value: "<folder>",
      help: "Keeps the last good snapshot here, so that a restart without NATS serves, and rewritten filter modules. Of one proxy at a time.",
    },
    {
      name: "log-dir",
      type: "text",
      value: "<folder>",
      defaultText: "logs in the cache folder; with --file any",
      help: "Folder below which the configuration may put access logs; elsewhere only stdout and stderr.",
    },
    ...REGISTRY_FLAGS,
    ...LOG_FLAGS,
  ],
  examples: [
    { says: "a gateway from a file, no control plane", line: "selvedge proxy -f gateway.yaml" },
    { says: "a gateway that takes its configuration over NATS", line: "selvedge proxy --nats nats://10.0.0.5:4222 --id edge-1" },
    { says: "a sidecar", line: "selvedge proxy --mode sidecar --group shop --nats nats://10.0.0.5:4222" },
  ],
  run: (context) => context.launch.proxy(context),
};
