import { isTrialFault } from "../../config/filter-check.ts";
import type { ConfigIssue } from "../../config/issue.ts";
import type { CompiledConfig } from "../compiler.ts";
import type { ApplyOutcome, ChangeSummary } from "../control.ts";
import type { Change } from "../store/store.ts";

/** Codes of issues that only the control plane finds; those of the configuration itself are in config/codes.ts. */
export const CONTROL_ISSUE_CODES = {
  revision_conflict: "The resource is not at the revision that the caller expected.",
  unknown_resource: "There is no such resource.",
  not_owned: "The publisher may not write this resource, these hosts, or refer to that.",
  bad_reference: "Not a reference to a resource like `Route/default/shop` or `Route/shop`.",
  unknown_revision: "The history does not reach back to that revision.",
  bad_backup: "Not a backup document.",
  bad_request: "The request cannot be understood.",
  altered_module: "The bytes of a module do not have its digest.",
  file_refused: "A file cannot be named in configuration that does not come from this machine.",
  missing_object: "The message refers to an object that is not in the object store.",
  parts_quota: "The publisher, or all together, have stored as many parts of large texts as they may for a while.",
  too_many_changes: "As many changes wait for their turn as may wait. Again in a moment.",
  internal: "The control plane failed; its log says why.",
} as const;

export type ControlIssueCode = keyof typeof CONTROL_ISSUE_CODES;

/** An issue without a place in a text. */
export function controlIssue(code: ControlIssueCode, message: string, hint = "", resource = "", file = ""): ConfigIssue {
  return { code, message, hint, resource, path: "", file, line: 0, column: 0 };
}

/** What a change is answered that would have to wait behind too many others. */
export const TOO_MANY_CHANGES: ApplyOutcome = {
  ok: false,
  reason: "busy",
  issues: [controlIssue("too_many_changes", "Too many changes wait for their turn.", "again in a moment")],
};

/** Of a Filter that goes on without its module in the store. */
export const isLost = ({ code }: ConfigIssue): boolean => code === "module_lost";

/** Another look may mend it: a module that is there again, a trial that comes to something. */
export const mayMend = (compiled: Pick<CompiledConfig, "issues" | "warnings"> | undefined): boolean =>
  compiled !== undefined &&
  (compiled.warnings.some(isLost) || compiled.issues.some((issue) => issue.code === "unknown_module" || isTrialFault(issue)));

/** Those of resources that changed: the others were told when theirs did. What was lost is told to whoever may hear of everything. */
export function warningsOf(
  warnings: readonly ConfigIssue[],
  changes: readonly ChangeSummary[],
  everything: boolean,
): { readonly warnings?: readonly ConfigIssue[] } {
  if (warnings.length === 0) return {};
  const changed = new Set(changes.map(({ key }) => key.replace("/", " ")));
  const told = warnings.filter((each) => changed.has(each.resource) || (everything && isLost(each)));
  return told.length === 0 ? {} : { warnings: told };
}

/** The same may be taken in a moment. */
export const isBusy = ({ code }: ConfigIssue): boolean => code === "registry_busy";

/** What happened to a resource. */
export function summaryOf({ key, before, after }: Change): ChangeSummary {
  return { key, kind: after === undefined ? "deleted" : before === undefined ? "created" : "changed" };
}
