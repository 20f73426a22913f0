import { readFileSync } from "node:fs";
import { parseResources } from "../../config/parse.ts";
import { codeOf } from "../../runtime/address.ts";
import { probeListen } from "../../runtime/probe.ts";
import { selectNet } from "../../runtime/select.ts";
import { CommandError } from "../command.ts";

/**
 * Before anything is built: throws a `CommandError` when another program holds a port that a gateway file listens on. What else may be wrong
 * with the file the proxy says, with everything at once.
 */
export async function lookAtPorts(path: string, env: Readonly<Record<string, string | undefined>>): Promise<void> {
  const net = await selectNet(env);
  const { resources } = parseResources(readFileSync(path, "utf8"), { file: path, env });
  for (const { resource } of resources) {
    if (resource.kind !== "Gateway") continue;
    for (const { address: host = "0.0.0.0", port = 0 } of resource.spec.listeners) {
      if (port === 0) continue;
      const address = { kind: "tcp", host, port } as const;
      try {
        await probeListen(net, address);
      } catch (error) {
        if (codeOf(error) === "EADDRINUSE")
          throw new CommandError((error as Error).message, `stop what uses port ${port}, or choose another with --port`);
      }
    }
  }
}
