import { sha256Digest } from "./canonical.ts";
import type { ConfigIssue } from "./issue.ts";
import { formatPath, type IssuePath, type ParsedResource } from "./parse.ts";
import type { PartialResource } from "./prune.ts";
import { resourceKey } from "./schema/index.ts";
import { checkSettings } from "./settings-schema.ts";
import type { FilterConfig } from "./snapshot.ts";

/** A trial that came to nothing: neither the module nor its settings were refused, and nobody knows whether they are good. */
export interface TrialFault {
  readonly message: string;
  readonly hint: string;
}

/** Loads a filter with its settings; answers why it was refused, or undefined when it is good. Rejects only when nobody needs an answer any more. */
export type TryFilter = (config: FilterConfig, bytes: Uint8Array) => Promise<string | TrialFault | undefined>;

/** What of compiled resources is checked. */
export interface CheckedFilters {
  readonly filters: readonly FilterConfig[];
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Where a value of a filter stands. */
export type FilterPlace = (filterName: string, path: IssuePath) => Pick<ConfigIssue, "file" | "line" | "column">;

/** Places of the filters of one or several texts. */
export function filterPlaceOf(parsed: readonly ParsedResource[], partial: readonly PartialResource[] = []): FilterPlace {
  const all = [...parsed, ...partial];
  return (name, path) => {
    const filter = all.find((each) => resourceKey(each.resource) === `Filter ${name}`);
    return filter?.locate(path) ?? { file: "", line: 0, column: 0 };
  };
}

/** What was compiled before stays the same object. */
const KEYS = new WeakMap<FilterConfig, string>();

/** Identity of what a filter's loading depends on. A digest: settings may be large, and many are remembered. */
export function filterCheckKey(config: FilterConfig): string {
  const known = KEYS.get(config);
  if (known !== undefined) return known;
  const { digest, settings, budget, capabilities, isolated } = config;
  const key = sha256Digest(JSON.stringify([digest, settings, budget, capabilities, isolated]));
  KEYS.set(config, key);
  return key;
}

const TRIAL_FAILED = "trial_failed";

/** It is no matter of what was written: another trial may tell. */
export const isTrialFault = ({ code }: ConfigIssue): boolean => code === TRIAL_FAILED;

/**
 * Checks the settings of every compiled filter by the JSON Schema of its module, if it has one, and loads it
 * with them, so that a bad one never reaches a proxy. Filters in `known`
 * (`filterCheckKey`) were tried before and are left out; those that are good are added to it.
 */
export async function checkFilters(
  compiled: CheckedFilters,
  tryFilter: TryFilter,
  place: FilterPlace,
  known: Set<string> = new Set(),
): Promise<ConfigIssue[]> {
  const issues: ConfigIssue[] = [];
  for (const config of compiled.filters) {
    const key = filterCheckKey(config);
    const bytes = compiled.modules.get(config.digest);
    if (known.has(key) || bytes === undefined) continue;
    const problems = checkSettings(bytes, config.settings);
    for (const { code, message, hint, path } of problems) {
      const at = ["spec", "settings", ...path];
      const where = { resource: `Filter ${config.name}`, path: formatPath(at), ...place(config.name, at) };
      issues.push({ code, message, hint, ...where });
    }
    // What the schema has told, the module would only tell again.
    if (problems.length > 0) continue;
    const reason = await tryFilter(config, bytes);
    // A start may take long, and somebody may send many.
    await new Promise<void>((resolve) => setImmediate(resolve));
    if (reason === undefined) {
      known.add(key);
      continue;
    }
    if (typeof reason !== "string") {
      const where = { resource: `Filter ${config.name}`, path: "spec.module", ...place(config.name, ["spec", "module"]) };
      issues.push({ code: TRIAL_FAILED, ...reason, ...where });
      continue;
    }
    for (const { path, message } of splitReason(reason)) {
      const at = ["spec", "settings", ...path];
      const text = `${config.origin} refuses its settings: ${message}`;
      const where = { resource: `Filter ${config.name}`, path: formatPath(at), ...place(config.name, at) };
      issues.push({ code: "bad_settings", message: text, hint: "", ...where });
    }
  }
  return issues;
}

/** What a module says about its settings: it may be anybody's, so it is cut and cleaned. */
const REASON_CHARS = 8_192;
const PROBLEMS = 64;

/**
 * The built-in filters name every problem by JSON pointer (RFC 6901): `settings /limits/0/per: must be …; /limits/1: …`.
 * Each becomes an issue at its own place. Other modules' reasons stay whole.
 */
function splitReason(reason: string): { path: IssuePath; message: string }[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  const clean = reason.slice(0, REASON_CHARS).replace(/[\0-\x1f\x7f]+/g, " ");
  if (!/^settings (\/[^:]*)?: /.test(clean)) return [{ path: [], message: clean }];
  const problems = clean.slice("settings ".length).split(/; (?=\/[^:; ]*: )/, PROBLEMS);
  return problems.map((problem) => {
    const colon = problem.indexOf(": ");
    return { path: readPointer(problem.slice(0, colon)), message: `${problem.slice(colon + 2)}.` };
  });
}

function readPointer(pointer: string): IssuePath {
  return pointer
    .split("/")
    .slice(1)
    .map((token) => (/^(0|[1-9]\d{0,8})$/.test(token) ? Number(token) : token.replaceAll("~1", "/").replaceAll("~0", "~")));
}
