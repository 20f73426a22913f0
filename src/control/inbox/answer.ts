import type { ConfigIssue } from "../../config/issue.ts";
import type { ApplyOutcome, ChangeSummary } from "../control.ts";

/** Of each kind in one answer: a message has 1 MB at most. */
const LISTED = 1_000;

/** What a request over NATS is answered with, as JSON. */
export type InboxAnswer =
  | {
      readonly ok: true;
      readonly revision: number;
      readonly digest: string;
      readonly changes: readonly ChangeSummary[];
      readonly moreChanges?: number;
      readonly warnings?: readonly ConfigIssue[];
    }
  | { readonly ok: false; readonly reason: string; readonly issues: readonly ConfigIssue[]; readonly moreIssues?: number };

export function answerOf(outcome: ApplyOutcome): InboxAnswer {
  if (!outcome.ok) {
    const more = outcome.issues.length - LISTED;
    return {
      ok: false,
      reason: outcome.reason,
      issues: outcome.issues.slice(0, LISTED),
      ...(more > 0 ? { moreIssues: more } : {}),
    };
  }
  const { revision, digest, changes, warnings } = outcome;
  const more = changes.length - LISTED;
  return {
    ...{ ok: true, revision, digest, changes: changes.slice(0, LISTED) },
    ...(more > 0 ? { moreChanges: more } : {}),
    ...(warnings === undefined ? {} : { warnings: warnings.slice(0, LISTED) }),
  };
}
