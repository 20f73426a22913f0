import type { ConfigIssue } from "../config/issue.ts";
import type { ListenerConfig, Snapshot } from "../config/snapshot.ts";
import { codeOf } from "../runtime/address.ts";
import type { Net } from "../runtime/net.ts";
import { probeListen } from "../runtime/probe.ts";
import { localIssue } from "./messages.ts";

const PORT_0 = "port 0 lets the system choose, and every worker would get another port";
const PORT_0_HINT = "give a port, or run one process: --workers 1 or --mode sidecar";

/**
 * Addresses of a snapshot that another program holds. Workers share their ports (SO_REUSEPORT), and so would a second Selvedge of
 * the same user: without this check both would silently get a part of the traffic. What the snapshot before used is ours.
 */
export async function findTakenPorts(
  net: Net,
  workers: number,
  snapshot: Snapshot,
  held: Snapshot | undefined,
): Promise<ConfigIssue[]> {
  const ours = new Set(held?.listeners.map(keyOf));
  const issues = new Map<string, ConfigIssue>();
  for (const listener of snapshot.listeners) {
    const { address } = listener;
    const key = keyOf(listener);
    if (address.kind !== "tcp" || ours.has(key) || issues.has(key)) continue;
    if (address.port === 0) {
      if (workers > 1) issues.set(key, localIssue("listen_failed", PORT_0, PORT_0_HINT, `Gateway ${listener.gateway}`));
      continue;
    }
    try {
      await probeListen(net, address);
    } catch (error) {
      issues.set(key, issueOf(listener, address.port, error));
    }
  }
  return [...issues.values()];
}

function keyOf({ address }: ListenerConfig): string {
  return address.kind === "tcp" ? `${address.host}:${address.port}` : `unix:${address.path}`;
}

function issueOf(listener: ListenerConfig, port: number, error: unknown): ConfigIssue {
  const message = error instanceof Error ? error.message : String(error);
  const hint =
    codeOf(error) === "EADDRINUSE"
      ? `stop what uses port ${port}, or change the port of this listener (\`selvedge up --demo\`: --http, --https; \`selvedge filter run\`: --port)`
      : "change the address of this listener";
  return localIssue("listen_failed", message, hint, `Gateway ${listener.gateway}`);
}
