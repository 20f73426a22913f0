import { CONFIG_LIMITS } from "../core/limits.ts";
import { compareText } from "./canonical.ts";

/** One thing that is wrong with configuration. Every apply reports all of them at once. */
export interface ConfigIssue {
  /** Stable, e.g. `unknown_key`, `dangling_reference`: docs and tests key on it. */
  readonly code: string;
  /** What is wrong, in a sentence. */
  readonly message: string;
  /** What to do about it; "" when nothing better than the message can be said. */
  readonly hint: string;
  /** `Route default/shop`, or "" when it is not about one resource. */
  readonly resource: string;
  /** `spec.rules[0].backends[1].service`, or "". */
  readonly path: string;
  /** File (or `<nats>`, `<api>`), 1-based line and column; 0 when unknown. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** How many more issues it stands for, which are not listed (`too_many_issues`). Absent: for itself. */
  readonly more?: number;
  /** Resources behind them that were not read, because there were more issues than are listed (`too_many_issues`). */
  readonly unread?: number;
}

/** `shop.yaml:12:9 dangling_reference Route default/shop spec…: message (hint)`. */
export function formatIssue(issue: ConfigIssue): string {
  const place = issue.line > 0 ? `${issue.file}:${issue.line}:${issue.column}` : issue.file;
  const parts = [place, issue.code, issue.resource, issue.path].filter((part) => part !== "");
  return `${parts.join(" ")}: ${issue.message}${issue.hint === "" ? "" : ` (${issue.hint})`}`;
}

const NOWHERE = { code: "", message: "", hint: "", resource: "", path: "", file: "", line: 0, column: 0 };

/** An issue of a text, with what differs from an issue of nothing in particular. */
export const issueOf = (parts: Partial<ConfigIssue> & Pick<ConfigIssue, "code" | "message">): ConfigIssue => ({
  ...NOWHERE,
  ...parts,
});

/**
 * All of them by file, line and column; those without a place come last. At most `CONFIG_LIMITS.issues`, and one more that counts
 * the rest.
 */
export function orderIssues(...lists: readonly (readonly ConfigIssue[])[]): ConfigIssue[] {
  const all = lists.flat();
  const sorted = all.filter((each) => each.code !== "too_many_issues").sort(compareIssues);
  // What was cut from one of the lists before.
  const cut = all.filter((each) => each.code === "too_many_issues");
  const more = countIssues(cut) + Math.max(0, sorted.length - CONFIG_LIMITS.issues);
  if (more === 0) return sorted;
  const file = cut[0]?.file ?? sorted[0]?.file ?? "";
  const unread = cut.reduce((sum, each) => sum + (each.unread ?? 0), 0);
  return [...sorted.slice(0, CONFIG_LIMITS.issues), moreIssues(more, file, unread)];
}

/** Stands for all that are not listed, and for resources that were not read any more. */
export function moreIssues(more: number, file = "", unread = 0): ConfigIssue {
  const listed = `${more} more ${more === 1 ? "issue is" : "issues are"} not listed`;
  if (unread === 0) return issueOf({ code: "too_many_issues", message: `${listed}.`, file, more });
  const behind = unread === 1 ? "the resource behind them was" : `${unread} resources behind them were`;
  return issueOf({ code: "too_many_issues", message: `${listed}, and ${behind} not read.`, file, more, unread });
}

/** How many there are, with those that are not listed. */
export const countIssues = (issues: readonly ConfigIssue[]): number =>
  issues.reduce((sum, { more = 1 }) => sum + (Number.isSafeInteger(more) ? more : 1), 0);

function compareIssues(a: ConfigIssue, b: ConfigIssue): number {
  if ((a.file === "") !== (b.file === "")) return a.file === "" ? 1 : -1;
  const byPlace = compareText(a.file, b.file) || a.line - b.line || a.column - b.column;
  return byPlace || compareText(a.resource, b.resource) || compareText(a.path, b.path);
}
