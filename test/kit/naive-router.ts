import type { MatchConfig, RouteConfig, RuleConfig, ValueMatchConfig } from "../../src/config/snapshot.ts";
import type { RequestHead } from "../../src/core/head.ts";

/**
 * The router's specification as a program: every match of every route is tested, those that hold are sorted by the documented
 * precedence, the first wins. Written without a look at the real one; slow, for tests with plain ASCII paths.
 */
export interface NaiveMatch {
  readonly route: RouteConfig;
  readonly rule: RuleConfig;
}

interface Row {
  readonly route: RouteConfig;
  readonly rule: RuleConfig;
  readonly host: string;
  readonly match: MatchConfig;
  readonly order: number;
}

export function matchNaively(
  routes: readonly RouteConfig[],
  gateway: string,
  listenerHosts: readonly string[],
  head: RequestHead,
): NaiveMatch | undefined {
  const host = head.authority.toLowerCase().replace(/:\d+$/, "").replace(/\.$/, "");
  if (listenerHosts.length > 0 && !listenerHosts.some((each) => hostCovers(each, host))) return undefined;
  const rows: Row[] = [];
  for (const route of routes) {
    if (route.gateways.length > 0 && !route.gateways.includes(gateway)) continue;
    for (const routeHost of route.hosts) {
      if (!hostCovers(routeHost, host)) continue;
      let order = 0;
      for (const rule of route.rules)
        for (const match of rule.matches) {
          order++;
          if (matchHolds(match, head)) rows.push({ route, rule, host: routeHost, match, order });
        }
    }
  }
  rows.sort(compareRows);
  return rows[0];
}

function hostCovers(pattern: string, host: string): boolean {
  if (pattern === "*") return true;
  if (!pattern.startsWith("*.")) return pattern === host;
  return host.endsWith(pattern.slice(1)) && host.length > pattern.length - 1;
}

function matchHolds(match: MatchConfig, head: RequestHead): boolean {
  const parameters = (head.query ?? "")
    .split("&")
    .filter((part) => part !== "")
    .map((part) => part.split("=") as [string, string?]);
  return (
    pathHolds(match, head.path) &&
    (match.methods.length === 0 || match.methods.includes(head.method)) &&
    match.headers.every((each) => valueHolds(each, head.headers.getAll(each.name))) &&
    match.query.every((each) =>
      valueHolds(
        each,
        parameters.filter(([name]) => name === each.name).map(([, value]) => value ?? ""),
      ),
    )
  );
}

function valueHolds(condition: ValueMatchConfig, values: readonly string[]): boolean {
  if (condition.kind === "present") return values.length > 0;
  if (condition.kind === "absent") return values.length === 0;
  if (condition.kind === "exact") return values.includes(condition.value);
  const regex = new RegExp(`^(?:${condition.value})$`);
  return values.some((value) => regex.test(value));
}

function pathHolds(match: MatchConfig, path: string): boolean {
  const { kind, value } = match.path;
  if (kind === "exact") return path === value;
  if (kind === "regex") return new RegExp(`^(?:${value})$`).test(path);
  if (kind === "prefix") {
    const bare = value.replace(/\/+$/, "");
    return path === bare || path.startsWith(`${bare}/`);
  }
  const source = value
    .split("/")
    .slice(1)
    .map((segment) => (/=\*\*\}$/.test(segment) ? "(/.*)?" : segment.startsWith("{") ? "/[^/]+" : `/${segment}`))
    .join("");
  return new RegExp(`^${source}$`).test(path);
}

const KINDS = ["exact", "template", "regex", "prefix"];

/** Host, path, method, headers, query, name, order. */
function compareRows(a: Row, b: Row): number {
  return (
    hostRank(b.host) - hostRank(a.host) ||
    KINDS.indexOf(a.match.path.kind) - KINDS.indexOf(b.match.path.kind) ||
    comparePaths(a.match, b.match) ||
    Number(b.match.methods.length > 0) - Number(a.match.methods.length > 0) ||
    b.match.headers.length - a.match.headers.length ||
    b.match.query.length - a.match.query.length ||
    (a.route.name < b.route.name ? -1 : a.route.name > b.route.name ? 1 : 0) ||
    a.order - b.order
  );
}

const hostRank = (host: string): number => (host === "*" ? 0 : host.startsWith("*.") ? host.length : 1_000_000);

function comparePaths(a: MatchConfig, b: MatchConfig): number {
  if (a.path.kind === "prefix") return b.path.value.replace(/\/+$/, "").length - a.path.value.replace(/\/+$/, "").length;
  if (a.path.kind !== "template") return 0;
  const [left, right] = [shapeOf(a.path.value), shapeOf(b.path.value)];
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Per segment, from the left: literal before variable before rest. */
const shapeOf = (template: string): string =>
  template
    .split("/")
    .slice(1)
    .map((segment) => (segment.includes("=**") ? "c" : segment.startsWith("{") ? "b" : "a"))
    .join("");
