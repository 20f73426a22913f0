import type { RequestHead } from "../../core/head.ts";
import { belongsTo, type Candidate, type CompiledRoute, compareConditions, describeMatch } from "./candidate.ts";
import { QueryView } from "./condition.ts";
import { hostCovers, hostKey, routeHostKey } from "./host.ts";
import { allowPatterns } from "./pattern.ts";
import type { Scope } from "./route-table.ts";
import type { RouteExplanation, RouteMatch } from "./router.ts";

/** Tests every candidate of the request's host one by one and says what each lacked. For people: it is slow on purpose. */
export function explainMatch(
  routes: readonly CompiledRoute[],
  scope: Scope | undefined,
  head: RequestHead,
  match: RouteMatch | undefined,
  allow: readonly string[],
): RouteExplanation {
  const host = hostKey(head.authority);
  const served = scope !== undefined && (scope.hosts === undefined || scope.hosts.covers(host));
  const query = new QueryView();
  query.reset(head.query);
  const candidates = (served ? candidatesOf(routes, scope.gateway, host) : []).map(({ host: routeHost, candidate }) => ({
    address: candidate.result.address,
    host: routeHost,
    match: describeMatch(candidate.config),
    mismatch: mismatchOf(candidate, head, query),
  }));
  return { host, served, match, allow, candidates };
}

interface HostCandidate {
  /** As the route has it, but lower case. */
  readonly host: string;
  readonly candidate: Candidate;
}

/** Everything for a `hostKey` in order of precedence. */
function candidatesOf(routes: readonly CompiledRoute[], gateway: string, host: string): HostCandidate[] {
  const found: HostCandidate[] = [];
  for (const route of routes) {
    if (!belongsTo(route, gateway)) continue;
    const hosts = new Set(route.config.hosts.map(routeHostKey).filter((each) => hostCovers(each, host)));
    for (const each of hosts) for (const candidate of route.candidates) found.push({ host: each, candidate });
  }
  const rank = (each: string): number => (each === host ? Number.POSITIVE_INFINITY : each.length);
  return found.sort((a, b) => (a.host === b.host ? comparePrecedence(a.candidate, b.candidate) : rank(b.host) - rank(a.host)));
}

const KIND_RANK = { exact: 0, template: 1, regex: 2, prefix: 3 } as const;

/** The documented order within one host. */
function comparePrecedence(a: Candidate, b: Candidate): number {
  if (a.kind !== b.kind) return KIND_RANK[a.kind] - KIND_RANK[b.kind];
  if (a.template !== undefined && b.template !== undefined && a.template.shape !== b.template.shape)
    return a.template.shape < b.template.shape ? -1 : 1;
  if (a.kind === "prefix" && a.path.length !== b.path.length) return b.path.length - a.path.length;
  return compareConditions(a, b);
}

function mismatchOf(candidate: Candidate, head: RequestHead, query: QueryView): string {
  // For people: each candidate by itself.
  allowPatterns();
  if (!pathHolds(candidate, head.path)) return "path";
  if (candidate.methods.length > 0 && !candidate.methods.includes(head.method)) return "method";
  const header = candidate.headers.find((each) => !each.holdsForHeaders(head.headers));
  if (header !== undefined) return `header ${header.name}`;
  const parameter = candidate.query.find((each) => !each.holdsForQuery(query));
  return parameter === undefined ? "" : `query ${parameter.name}`;
}

function pathHolds(candidate: Candidate, path: string): boolean {
  if (candidate.pattern !== undefined) return candidate.pattern.test(path);
  if (candidate.template !== undefined) return templateHolds(candidate, path);
  if (candidate.kind === "exact") return path === candidate.path;
  return candidate.path === "" || path === candidate.path || path.startsWith(`${candidate.path}/`);
}

function templateHolds(candidate: Candidate, path: string): boolean {
  const segments = candidate.template?.segments ?? [];
  if (!path.startsWith("/")) return false;
  const parts = path.slice(1).split("/");
  const rest = segments.at(-1)?.kind === "rest";
  const fixed = rest ? segments.length - 1 : segments.length;
  // `/{rest=**}` also takes the path that ends before the rest, but a path has one segment at least.
  if (rest ? parts.length < fixed : parts.length !== fixed) return false;
  return segments.slice(0, fixed).every((segment, i) => {
    const part = parts[i] as string;
    return segment.kind === "literal" ? part === segment.text : part !== "";
  });
}
