import { compileSnapshot } from "../../config/compile.ts";
import { type ConfigIssue, formatIssue } from "../../config/issue.ts";
import { builtinModules } from "../../config/modules.ts";
import { API_VERSION, RESOURCE_SCHEMAS, type Resource } from "../../config/schema/index.ts";
import type { FilterConfig } from "../../config/snapshot.ts";

/** The parts of a Filter's `spec` that a table and its tests give, as they were written. */
export const FILTER_PARTS = ["settings", "budget", "capabilities", "onFailure", "pauseHolds", "rootId", "isolated"] as const;

/** A filter as a proxy would get it. */
export interface CompiledFilter {
  readonly config: FilterConfig;
  readonly bytes: Uint8Array;
}

/**
 * Compiles a Filter resource by the product's own compiler, so that defaults, bounds and refusals are those of an apply. The
 * services that it may call are made up. Throws an `Error` that lists what is wrong.
 */
export function compileFilter(spec: Readonly<Record<string, unknown>>, readFile: (path: string) => Uint8Array): CompiledFilter {
  const filter = RESOURCE_SCHEMAS.Filter.parse({
    ...{ apiVersion: API_VERSION, kind: "Filter" },
    ...{ metadata: { name: "filter" }, spec },
  });
  const services = filter.spec.capabilities.callouts.map(({ service: reference }): Resource => {
    const [namespace, name] = reference.includes("/") ? reference.split("/") : ["default", reference];
    return RESOURCE_SCHEMAS.Service.parse({
      ...{ apiVersion: API_VERSION, kind: "Service" },
      ...{ metadata: { namespace, name }, spec: { endpoints: ["192.0.2.10:80"] } },
    });
  });
  const { snapshot, issues, modules } = compileSnapshot([filter, ...services], {
    revision: 1,
    modules: builtinModules(),
    readFile: (path) => readFile(path),
  });
  const config = snapshot?.filters[0];
  const bytes = config === undefined ? undefined : modules.get(config.digest);
  if (config === undefined || bytes === undefined) throw new Error(issues.map(shortIssue).join("; "));
  return { config, bytes };
}

const shortIssue = (issue: ConfigIssue): string => formatIssue({ ...issue, resource: "", file: "", line: 0 });
