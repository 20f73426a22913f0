import type { ProxyEvent } from "../../core/events.ts";
import type { FilterLogPage, FilterLogQuery } from "../../core/filter-logs.ts";
import type { ConfigIssue } from "../issue.ts";

/** What a proxy says about itself on `selvedge.proxy.<id>.status`, as JSON. */
export interface ProxyStatusMessage {
  readonly id: string;
  readonly group: string;
  readonly version: string;
  /** Revision that serves now; 0: none. */
  readonly revision: number;
  readonly digest: string;
  /** How long the last snapshot took to go live. */
  readonly applyMs: number;
  /** Revision that was refused since; 0: none. */
  readonly rejectedRevision: number;
  readonly issues: readonly ConfigIssue[];
  /** What happened to it, the newest first. Absent: a proxy of a former version. */
  readonly events?: readonly ProxyEvent[];
  /** It stops now: forget it. */
  readonly leaving: boolean;
}

/** What a control plane asks on `selvedge.proxy.<id>.ask`, as JSON. */
export interface LogQuestion {
  /** Stands in the answer: control planes know theirs by it. */
  readonly question: string;
  readonly query: FilterLogQuery;
}

/** What the proxy says on `selvedge.proxy.<id>.logs`. */
export interface LogAnswer {
  readonly question: string;
  readonly page: FilterLogPage;
}

/** Characters of a question's name. */
export const QUESTION_CHARS = 64;

/** A proxy repeats its status this often; three missed ones and it is forgotten. */
export const HEARTBEAT_MS = 5_000;
/** Issues in one status message; the rest stays in the proxy's log. */
export const STATUS_ISSUES = 20;
/** Highest revision that a proxy may claim: a thousand applies a second for thirty years. */
export const REVISION_MAX = 2 ** 40;
