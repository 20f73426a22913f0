import type { ConfigIssue } from "../../config/issue.ts";

/** A proxy as the control plane sees it. */
export interface ProxyStatus {
  readonly id: string;
  readonly group: string;
  readonly version: string;
  /** Revision that serves there; 0: none. */
  readonly revision: number;
  readonly digest: string;
  /** Revision that it refused last; 0: none since the last good one. */
  readonly rejectedRevision: number;
  readonly issues: readonly ConfigIssue[];
  readonly applyMs: number;
  /** Wall clock of its last message. */
  readonly seenAtMs: number;
}
