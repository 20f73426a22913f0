import { canonicalCopy, compareText } from "./canonical.ts";
import { compileAuthentications } from "./compile/authentication.ts";
import { CompileContext } from "./compile/context.ts";
import { compileFilters } from "./compile/filter.ts";
import { compileGateways } from "./compile/gateway.ts";
import { compileMesh } from "./compile/mesh.ts";
import { compileRoutes } from "./compile/route.ts";
import { refuseRouteConflicts } from "./compile/route-conflicts.ts";
import { compileServices } from "./compile/service.ts";
import type { ConfigIssue } from "./issue.ts";
import type { ModuleCatalogue } from "./modules.ts";
import { cutIssues, type IssuePath, type ParsedResource, type Place } from "./parse.ts";
import type { Resource } from "./schema/index.ts";
import { cutSections, type Sections, type SnapshotContent } from "./sections.ts";
import type { Snapshot } from "./snapshot.ts";

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
  readonly refused?: readonly string[];
  /** Wall clock, for certificates that are not valid; undefined: not checked. */
  readonly nowMs?: number;
}

export type Locate = (resource: Resource, path: IssuePath) => Place | undefined;

export interface CompileResult {
  /** Undefined when there is an issue. */
  readonly snapshot: Snapshot | undefined;
  /** What the snapshot holds, cut and encoded: `splitSections` need not do it again. */
  readonly sections: Sections | undefined;
  readonly issues: readonly ConfigIssue[];
  /** Things to know that do not stop the configuration (an expired certificate). */
  readonly warnings: readonly ConfigIssue[];
  /** Bytes of every module that the snapshot names, by digest. */
  readonly modules: ReadonlyMap<string, Uint8Array>;
}

/** Pure and canonical: the same resources in any order give the same bytes. Never throws for what a user wrote. */
export function compileSnapshot(resources: readonly Resource[], options: CompileOptions): CompileResult {
  const context = new CompileContext(resources, options);
  const routes = compileRoutes(context);
  const content: SnapshotContent = {
    mesh: compileMesh(context),
    listeners: compileGateways(context),
    routes,
    ...compileServices(context),
    filters: compileFilters(context),
    authentications: compileAuthentications(context),
  };
  refuseRouteConflicts(context, routes);
  const { modules } = context;
  const issues = context.issues.sort(compareIssues);
  const warnings = context.warnings.sort(compareIssues);
  if (issues.length > 0) return { snapshot: undefined, sections: undefined, issues: cutIssues(issues), warnings, modules };
  // Each route is canonical already; to freeze a list of 10,000 takes longer than all the rest.
  const canonical: SnapshotContent = { ...canonicalCopy({ ...content, routes: [] }), routes };
  const sections = cutSections(canonical);
  const { digest } = sections;
  const snapshot = Object.freeze({ ...canonical, revision: options.revision, digest, group: options.group ?? "gateway" });
  return { snapshot, sections, issues, warnings, modules };
}

function compareIssues(a: ConfigIssue, b: ConfigIssue): number {
  const byPlace = compareText(a.file, b.file) || a.line - b.line || a.column - b.column;
  return byPlace || compareText(a.resource, b.resource) || compareText(a.path, b.path);
}

/** Places of the resources of one or several texts. */
export function locatorOf(parsed: readonly ParsedResource[]): Locate {
  const byResource = new Map(parsed.map((each) => [each.resource, each]));
  return (resource, path) => byResource.get(resource)?.locate(path);
}
