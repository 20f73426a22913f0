import type { RequestHead } from "../../core/head.ts";
import { type Candidate, compareConditions, describeMatch } from "./candidate.ts";
import { QueryView } from "./condition.ts";
import { hostKey } from "./host.ts";
import type { HostTable } from "./host-table.ts";
import type { Scope } from "./route-table.ts";
import type { RouteExplanation, RouteMatch } from "./router.ts";

/** Tests every candidate of the request's host one by one and says what each lacked. For people: it is slow on purpose. */
export function explainMatch(
  scope: Scope | undefined,
  head: RequestHead,
  match: RouteMatch | undefined,
  allow: readonly string[],
): RouteExplanation {
  const host = hostKey(head.authority);
  const served = scope !== undefined && (scope.hosts === undefined || scope.hosts.covers(host));
  const query = new QueryView();
  query.reset(head.query);
  const candidates = (served ? tablesOf(scope, host) : []).flatMap(([routeHost, table]) =>
    table.routes
      .flatMap((route) => route.candidates)
      .sort(comparePrecedence)
      .map((candidate) => ({
        address: candidate.result.address,
        host: routeHost,
        match: describeMatch(candidate.config),
        mismatch: mismatchOf(candidate, head, query),
      })),
  );
  return { host, served, match, allow, candidates };
}

/** The tables that cover a host, most specific first. */
function tablesOf(scope: Scope, host: string): [string, HostTable][] {
  const { index } = scope;
  const found: [string, HostTable | undefined][] = [[host, index.exact.get(host)]];
  for (let at = index.nextWild(host, 0); at >= 0; at = index.nextWild(host, at))
    found.push([`*.${host.slice(at)}`, index.wildAt(host, at)]);
  found.push(["*", index.any]);
  return found.filter((pair): pair is [string, HostTable] => pair[1] !== undefined);
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
