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
  return localIssue("listen_failed", message, hintOf(codeOf(error), port), `Gateway ${listener.gateway}`);
}

/** Of a port that cannot be listened on, by the system's code. */
export function hintOf(code: string, port: number): string {
  if (code === "EADDRINUSE")
    return `stop what uses port ${port}, or change the port of this listener (\`selvedge up --demo\`: --http, --https; \`selvedge filter run\`: --port)`;
  if (code === "EACCES" || code === "EPERM")
    return "give this listener a port from 1024 on, or the program the capability CAP_NET_BIND_SERVICE (docs/operations.md, systemd)";
  return "change the address of this listener";
}
