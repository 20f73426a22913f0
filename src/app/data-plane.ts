import type { ConfigIssue } from "../config/issue.ts";
import type { SnapshotUpdate } from "../config/source.ts";
import type { FilterAction } from "../filters/contract.ts";

/** What processes need of the data plane: `Proxy` (proxy.ts) is it; tests of the supervisor put a small one in its place. */
export interface DataPlane {
  /** Builds a generation and swaps it in. Issues: it was refused, and the old one goes on serving. Never rejects. */
  apply(update: SnapshotUpdate): Promise<readonly ConfigIssue[]>;
  /** Closes listeners, lets exchanges finish within the grace time of the snapshot, tunnels last. Resolves when nothing is left. */
  drain(): Promise<void>;
  /** Closes everything now. Idempotent. */
  stop(): void | Promise<void>;
  /** Switches a filter off or on, or releases it, whatever is loaded under that name now or later. */
  controlFilter(filter: string, action: FilterAction): void;
  /** Listeners, filters, pools: plain JSON for /status. */
  status(): unknown;
}
