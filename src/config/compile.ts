import type { Catalogue } from "./catalogue.ts";
import type { ConfigIssue } from "./issue.ts";
import type { ModuleCatalogue } from "./modules.ts";
import type { RegistryError } from "./oci/failure.ts";
import type { IssuePath, ParsedResource, Place } from "./parse.ts";
import type { PartialResource } from "./prune.ts";
import type { RefusedKeys } from "./refused.ts";
import type { Resource } from "./schema/index.ts";
import type { Sections } from "./sections.ts";
import type { FilterConfig, Snapshot } from "./snapshot.ts";
import { SnapshotCompiler } from "./snapshot-compiler.ts";

export interface CompileOptions {
  /** Position in the log of applies. */
  readonly revision: number;
  /** Default `gateway`. */
  readonly group?: string;
  readonly modules: ModuleCatalogue;
  /**
   * Reads a file that a resource names; `from` is the resource's own file (relative paths start at its folder), "" when
   * unknown. Throws an `Error` that says why not.
   */
  readonly readFile: (path: string, from: string) => Uint8Array;
  /** Places of resources that were parsed from text: `locatorOf(parsed)`. Without it issues have no line. */
  readonly locate?: Locate;
  /** `ParseResult.refused` of the same apply: exist, but have issues of their own. */
  readonly refused?: RefusedKeys;
  /** `ParseResult.partial` of the same apply: compiled with the others for what else is wrong; then there is no snapshot. */
  readonly partial?: readonly PartialResource[];
  /** Revision of a resource that is not part of what is applied; undefined: of one that is. */
  readonly storedAt?: (resource: Resource) => number | undefined;
  /**
   * What proxies have of a module that is not stored any more, by its digest; undefined: nobody has it. A Filter that is not part of what is
   * applied goes on with it. Absent: every Filter needs its module.
   */
  readonly served?: ((digest: string) => ServedModule | undefined) | undefined;
  /**
   * What there is besides the resources: nothing that is known here (`files`: a check of files), or nothing at all (`proxy`: a proxy that
   * reads files). Absent: they are all that a control plane has stored. Hints go by it.
   */
  readonly alone?: "files" | "proxy";
  /** Filters whose module did not come from its registry, and why (`PinnedModules.failures`). */
  readonly notPulled?: ReadonlyMap<Resource, RegistryError> | undefined;
  /** Wall clock, for certificates that are not valid; undefined: not checked. */
  readonly nowMs?: number;
}

/** What is known of a module by a filter that was compiled from it. */
export type ServedModule = Pick<FilterConfig, "abi" | "digest" | "settings" | "secrets">;

export type Locate = (resource: Resource, path: IssuePath) => Place | undefined;

export interface CompileResult {
  /** Undefined when there is an issue, or a resource that was read in part only. */
  readonly snapshot: Snapshot | undefined;
  /** What the snapshot holds, cut and encoded: `splitSections` need not do it again. */
  readonly sections: Sections | undefined;
  readonly issues: readonly ConfigIssue[];
  /** Things to know that do not stop the configuration (an expired certificate). */
  readonly warnings: readonly ConfigIssue[];
  /**
   * Filters to try before anybody gets them: all that could be compiled, also when something else has an issue. None when the Mesh,
   * which says whose modules may run, was refused.
   */
  readonly filters: readonly FilterConfig[];
  /** Bytes of every module that the filters name, by digest. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Pure and canonical: the same resources in any order give the same bytes. Never throws for what a user wrote. */
export function compileSnapshot(resources: Catalogue | readonly Resource[], options: CompileOptions): CompileResult {
  return new SnapshotCompiler().compile(resources, options);
}

/** Places of the resources of one or several texts. */
export function locatorOf(parsed: readonly ParsedResource[]): Locate {
  const byResource = new Map(parsed.map((each) => [each.resource, each]));
  return (resource, path) => byResource.get(resource)?.locate(path);
}
