import type { MatchConfig } from "../../config/snapshot.ts";

/**
 * What a rule's paths look like, for traces: `/users/{id}`, `/files/*`. "" when it has several, or an expression that may be any
 * text: who looks for a pattern must not find the wrong one.
 */
export function pathPatternOf(matches: readonly MatchConfig[]): string {
  const path = matches[0]?.path;
  if (path === undefined || path.kind === "regex") return "";
  for (const match of matches) if (match.path.kind !== path.kind || match.path.value !== path.value) return "";
  if (path.kind !== "prefix") return path.value;
  return path.value.endsWith("/") ? `${path.value}*` : `${path.value}/*`;
}
