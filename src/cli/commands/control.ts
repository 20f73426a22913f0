import type { Command } from "../command.ts";
import { CONTROL_FLAGS, LOG_FLAGS, NATS_FLAGS, REGISTRY_FLAGS } from "../serve-flags.ts";

export const command: Command = {
  name: "control",
  summary: "run a control plane",
  description:
    "Takes resources (over NATS, and over its own API), checks and keeps them in NATS JetStream, and sends every proxy group its snapshot. Several may run at once: they write the same bytes, and any of them may die at any moment.",
  flags: [
    {
      name: "nats",
      type: "text",
      value: "<url>",
      default: "nats://127.0.0.1:4222",
      help: "NATS server with JetStream that holds configuration and carries it to the proxies.",
    },
    {
      name: "groups",
      type: "list",
      value: "<name>",
      defaultText: "gateway",
      help: "Proxy groups that get snapshots; a proxy says with --group which is its own. Every control plane must have the same.",
    },
    ...NATS_FLAGS,
    ...CONTROL_FLAGS,
    {
      name: "owners",
      type: "text",
      value: "<file>",
      help: "Which publisher may write which namespaces, kinds and hosts over NATS; without it every publisher everything. SIGHUP reads it again.",
    },
    ...REGISTRY_FLAGS,
    ...LOG_FLAGS,
  ],
  examples: [
    { says: "a control plane on a NATS server elsewhere", line: "selvedge control --nats nats://10.0.0.5:4222" },
    { says: "proxies in two groups, which can be permitted apart", line: "selvedge control --groups gateway --groups inner" },
  ],
  run: (context) => context.launch.control(context),
};
