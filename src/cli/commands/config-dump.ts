import { type Command, EXIT } from "../command.ts";
import { fetchConfigDump } from "../remote-admin.ts";
import { printJson } from "../report.ts";

export const command: Command = {
  name: "config-dump",
  summary: "show what a proxy serves, without secrets",
  description:
    "Asks the admin address of a proxy for the snapshot it serves and prints it as JSON. Private keys and secrets are left out.",
  flags: [
    {
      name: "admin-url",
      type: "text",
      value: "<url>",
      default: "http://127.0.0.1:8081",
      help: "Admin address of the proxy.",
    },
    { name: "admin-token", type: "text", value: "<token>", help: "Bearer token, when the address is not loopback." },
  ],
  examples: [{ says: "which routes does this proxy have", line: "selvedge config-dump | jq '.routes[].name'" }],
  async run(context) {
    printJson(context, await fetchConfigDump(context, "--admin-url names the admin address of a proxy"));
    return EXIT.ok;
  },
};
