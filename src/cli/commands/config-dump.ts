import { type Command, CommandError, EXIT } from "../command.ts";
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
    const url = context.flags.text("admin-url") ?? "";
    const token = context.flags.text("admin-token");
    const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    let response: Response;
    try {
      response = await fetch(new URL("/config_dump", url), { headers, redirect: "error" });
    } catch (error) {
      throw new CommandError(
        `no proxy answers at ${url} (${(error as Error).message})`,
        "--admin-url names the admin address of a proxy",
        EXIT.unreachable,
      );
    }
    if (!response.ok) throw new CommandError(`the proxy answered ${response.status}: ${(await response.text()).slice(0, 200)}`);
    printJson(context, await response.json());
    return EXIT.ok;
  },
};
