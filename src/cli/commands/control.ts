import type { Command } from "../command.ts";
import { CONTROL_FLAGS, LOG_FLAGS, NATS_FLAGS } from "../serve-flags.ts";

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
    ...NATS_FLAGS,
    ...CONTROL_FLAGS,
    ...LOG_FLAGS,
  ],
  examples: [{ says: "a control plane on a NATS server elsewhere", line: "selvedge control --nats nats://10.0.0.5:4222" }],
  run: (context) => context.launch.control(context),
};
