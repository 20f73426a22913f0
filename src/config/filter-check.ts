import type { ConfigIssue } from "./issue.ts";
import type { FilterConfig } from "./snapshot.ts";

/** Loads a filter with its settings; answers why it was refused, or undefined when it is good. Never rejects. */
export type TryFilter = (config: FilterConfig, bytes: Uint8Array) => Promise<string | undefined>;

/** What of a compiled snapshot is checked. */
export interface CheckedFilters {
  readonly snapshot: { readonly filters: readonly FilterConfig[] } | undefined;
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Identity of what a filter's loading depends on. */
export function filterCheckKey(config: FilterConfig): string {
  return JSON.stringify([config.digest, config.settings, config.budget, config.capabilities]);
}

/**
 * Loads every filter of a compiled snapshot with its settings, so that a bad one never reaches a proxy. Filters in `known`
 * (`filterCheckKey`) were tried before and are left out; those that are good are added to it.
 */
export async function checkFilters(
  compiled: CheckedFilters,
  tryFilter: TryFilter,
  place: (filterName: string) => Pick<ConfigIssue, "file" | "line" | "column">,
  known: Set<string> = new Set(),
): Promise<ConfigIssue[]> {
  const issues: ConfigIssue[] = [];
  for (const config of compiled.snapshot?.filters ?? []) {
    const key = filterCheckKey(config);
    const bytes = compiled.modules.get(config.digest);
    if (known.has(key) || bytes === undefined) continue;
    const reason = await tryFilter(config, bytes);
    if (reason === undefined) {
      known.add(key);
      continue;
    }
    const message = `${config.origin} refuses its settings: ${reason}`;
    const where = { resource: `Filter ${config.name}`, path: "spec.settings", ...place(config.name) };
    issues.push({ code: "bad_settings", message, hint: "", ...where });
  }
  return issues;
}
