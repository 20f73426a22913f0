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
}

/** `shop.yaml:12:9 dangling_reference Route default/shop spec…: message (hint)`. */
export function formatIssue(issue: ConfigIssue): string {
  const place = issue.line > 0 ? `${issue.file}:${issue.line}:${issue.column}` : issue.file;
  const parts = [place, issue.code, issue.resource, issue.path].filter((part) => part !== "");
  return `${parts.join(" ")}: ${issue.message}${issue.hint === "" ? "" : ` (${issue.hint})`}`;
}
