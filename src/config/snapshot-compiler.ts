import { isSameData } from "../core/equal.ts";
import { canonicalCopy } from "./canonical.ts";
import { type Catalogue, fullName } from "./catalogue.ts";
import { compileAuthentications } from "./compile/authentication.ts";
import { CompileContext, servesHttp } from "./compile/context.ts";
import { compileFilters } from "./compile/filter.ts";
import { compileGateways } from "./compile/gateway.ts";
import { compileMesh, isMeshKnown } from "./compile/mesh.ts";
import { refuseTooManySteps } from "./compile/pattern-total.ts";
import { compileRoute } from "./compile/route.ts";
import { ClaimIndex, refuseRouteConflicts } from "./compile/route-conflicts.ts";
import { compileService, dependsOnFiles } from "./compile/service.ts";
import { checkStreamRoutes } from "./compile/stream-routes.ts";
import type { CompileOptions, CompileResult } from "./compile.ts";
import { orderIssues } from "./issue.ts";
import type { GatewayResource, Resource, ServiceResource } from "./schema/index.ts";
import { SectionCutter } from "./section-cutter.ts";
import { nameOfItem } from "./section-layout.ts";
import type { SnapshotContent } from "./sections.ts";
import { diffLists, findNamed, patchList } from "./sorted-list.ts";

/** What was compiled last without an issue. */
interface Compiled {
  readonly catalogue: Catalogue;
  readonly content: SnapshotContent;
  /** Of its routes those with `tcp`: few, so that they are checked against listeners and filters every time. */
  readonly streamRoutes: SnapshotContent["routes"];
}

type Services = Pick<SnapshotContent, "services" | "endpoints">;

/**
 * Compiles one state of all resources after another. What comes out depends on the resources and the options alone; what was
 * compiled before only saves work: routes and services whose resource is the same object are not looked at again.
 */
export class SnapshotCompiler {
  #last: Compiled | undefined;
  /** Of the routes compiled last. */
  #claims = new ClaimIndex();
  readonly #cutter = new SectionCutter();

  /** Never throws for what a user wrote. */
  compile(resources: Catalogue | readonly Resource[], options: CompileOptions): CompileResult {
    const context = new CompileContext(resources, options);
    const { catalogue } = context;
    // What refers to something refused is good for this apply only.
    const isKept = !context.hasDuplicates && (options.refused ?? []).length === 0;
    const last = isKept ? this.#last : undefined;
    const routes = compileRoutes(context, last);
    const content = keepEqual(last?.content, {
      mesh: compileMesh(context),
      listeners: compileGateways(context),
      routes,
      ...compileServices(context, last),
      filters: compileFilters(context),
      authentications: compileAuthentications(context),
    });
    const claims = last === undefined ? new ClaimIndex() : this.#claims;
    const { removed, added } = diffLists(last?.content.routes ?? [], routes, nameOfItem);
    const addedStreams = added.filter((each) => each.tcp !== undefined);
    const streamRoutes = patchList(last?.streamRoutes ?? [], removed.map(nameOfItem), addedStreams, nameOfItem);
    checkStreamRoutes(context, streamRoutes, content);
    refuseTooManySteps(context, routes);
    // Who claimed the same is only looked for when somebody did, or when all issues are told anyway.
    if (context.issues.length > 0 || !claims.replace(removed, added)) refuseRouteConflicts(context, routes);
    const found = { filters: isMeshKnown(context) ? content.filters.filter((each) => isTryable(context, each.name)) : [] };
    const issues = orderIssues(context.issues);
    const rest = { issues, warnings: orderIssues(context.warnings), modules: context.modules, ...found };
    if (issues.length > 0 || context.hasPartial) return { snapshot: undefined, sections: undefined, ...rest };
    if (isKept) {
      this.#last = { catalogue, content, streamRoutes };
      this.#claims = claims;
    }
    const sections = this.#cutter.cut(content);
    const { digest } = sections;
    const snapshot = Object.freeze({ ...content, revision: options.revision, digest, group: options.group ?? "gateway" });
    return { snapshot, sections, ...rest };
  }
}

/** What a filter may do and use is part of whether it starts. */
function isTryable(context: CompileContext, name: string): boolean {
  const filter = context.find("Filter", name);
  if (filter === undefined) return true;
  const parts = [["metadata"], ["spec", "settings"], ["spec", "capabilities"], ["spec", "budget"]];
  return parts.every((path) => context.isWhole(filter, path));
}

function compileRoutes(context: CompileContext, last: Compiled | undefined): SnapshotContent["routes"] {
  const resources = context.ofKind("Route");
  if (last === undefined || losesSomething(last.catalogue, context.catalogue))
    return resources.map((each) => compileRoute(context, each));
  const { removed, added } = diffLists(last.catalogue.ofKind("Route"), resources, fullName);
  const changed = added.map((each) => compileRoute(context, each));
  return patchList(last.content.routes, removed.map(fullName), changed, nameOfItem);
}

/** Is something gone that a route may refer to? */
function losesSomething(before: Catalogue, after: Catalogue): boolean {
  for (const kind of ["Filter", "Authentication"] as const) {
    const { removed } = diffLists<Resource>(before.ofKind(kind), after.ofKind(kind), fullName);
    if (removed.some((each) => after.find(kind, fullName(each)) === undefined)) return true;
  }
  const gateways = diffLists(before.ofKind("Gateway"), after.ofKind("Gateway"), fullName);
  if (gateways.removed.some((each) => losesHttp(each, after.find("Gateway", fullName(each))))) return true;
  const { removed } = diffLists(before.ofKind("Service"), after.ofKind("Service"), fullName);
  return removed.some((each) => losesSubset(each, after.find("Service", fullName(each))));
}

const losesHttp = (before: GatewayResource, after: GatewayResource | undefined): boolean =>
  after === undefined || (servesHttp(before) && !servesHttp(after));

function losesSubset(before: ServiceResource, after: ServiceResource | undefined): boolean {
  if (after === undefined) return true;
  return before.spec.subsets.some(({ name }) => !after.spec.subsets.some((each) => each.name === name));
}

function compileServices(context: CompileContext, last: Compiled | undefined): Services {
  const resources = context.ofKind("Service");
  const before = last?.catalogue.ofKind("Service") ?? [];
  const { removed, added } = diffLists(before, resources, fullName);
  const changed = new Set([...added, ...resources.filter(dependsOnFiles)]);
  const compiled = [...changed].map((each) => compileService(context, each));
  const names = removed.map(fullName);
  const services = compiled.map((each) => each.service);
  const endpoints = compiled.map((each) => each.endpoints);
  return {
    services: patchEqual(last?.content.services ?? [], names, services),
    endpoints: patchEqual(last?.content.endpoints ?? [], names, endpoints),
  };
}

/** What was compiled again to the same stays the same object. */
function patchEqual<T extends object>(list: readonly T[], removed: readonly string[], added: readonly T[]): readonly T[] {
  const gone = new Set(removed);
  const fresh: T[] = [];
  for (const item of added) {
    const former = findNamed(list, nameOfItem(item), nameOfItem);
    if (former === undefined || !isSameData(former, item)) fresh.push(item);
    gone.delete(nameOfItem(item));
  }
  return patchList(list, gone, fresh, nameOfItem);
}

/** Canonical, and of parts that are equal to the former ones the former. Routes and services are canonical already. */
function keepEqual(before: SnapshotContent | undefined, content: SnapshotContent): SnapshotContent {
  const keep = <K extends "mesh" | "listeners" | "filters" | "authentications">(name: K): SnapshotContent[K] => {
    const value = canonicalCopy(content[name]);
    const former = before?.[name];
    return former !== undefined && isSameData(former, value) ? former : value;
  };
  return {
    ...{ mesh: keep("mesh"), listeners: keep("listeners"), routes: content.routes },
    ...{ services: content.services, endpoints: content.endpoints },
    ...{ filters: keep("filters"), authentications: keep("authentications") },
  };
}
