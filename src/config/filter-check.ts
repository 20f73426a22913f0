import type { CompileResult } from "./compile.ts";
import type { ConfigIssue } from "./issue.ts";
import type { FilterConfig } from "./snapshot.ts";

/** Loads a filter with its settings; answers why it was refused, or undefined when it is good. Never rejects. */
export type TryFilter = (config: FilterConfig, bytes: Uint8Array) => Promise<string | undefined>;

/**
 * Loads every filter of a compiled snapshot with its settings, so that a bad one never reaches a proxy. Filters for which
 * `known(key)` is true (equal digest, settings and budget) were tried before and are left out.
 */
export async function checkFilters(
  _compiled: CompileResult,
  _tryFilter: TryFilter,
  _place: (filterName: string) => Pick<ConfigIssue, "file" | "line" | "column">,
): Promise<ConfigIssue[]> {
  throw new Error("not yet");
}
