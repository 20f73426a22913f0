import { type CommandContext, CommandError, EXIT } from "../cli/command.ts";
import { assertGuarded } from "./guard.ts";
import type { ProxyHost } from "./host.ts";
import { type HttpServer, serveHttp } from "./http-server.ts";
import { parseAddress } from "./serving.ts";

/** The admin listener that the flags ask for; undefined when it is off. */
export async function startAdmin({ flags }: CommandContext, host: ProxyHost): Promise<HttpServer | undefined> {
  const text = flags.text("admin") ?? "off";
  if (text === "off") return undefined;
  const address = parseAddress(text, "admin");
  const guard = { host: address.host, token: flags.text("admin-token") };
  try {
    assertGuarded(guard, "--admin-token");
  } catch (error) {
    throw new CommandError((error as Error).message, "", EXIT.usage);
  }
  const { createAdmin } = await import("./admin.ts");
  return serveHttp(address, "admin", createAdmin(host, guard));
}
