import { canonicalItem, compareText, sortedSet } from "../canonical.ts";
import type { IssuePath } from "../parse.ts";
import type { RouteResource } from "../schema/index.ts";
import { variablesOf } from "../schema/paths.ts";
import type { MatchSpec, RouteSpec, RuleSpec, TcpSpec } from "../schema/route.ts";
import type {
  ActionConfig,
  BackendConfig,
  MatchConfig,
  PathMatchConfig,
  PathRewriteConfig,
  ResourceName,
  RouteConfig,
  RuleConfig,
  TcpConfig,
  ValueMatchConfig,
} from "../snapshot.ts";
import { type CompileContext, fullName, servesHttp } from "./context.ts";

/** Routes compiled before, with what must exist for them to be right: most stay the same from one apply to the next. */
const compiled = new WeakMap<RouteResource, { readonly config: RouteConfig; readonly needs: readonly string[] }>();

/** One route; the same object as before when it is the same resource and still has what it needs. */
export function compileRoute(context: CompileContext, route: RouteResource): RouteConfig {
  const known = compiled.get(route);
  if (known !== undefined && context.has(known.needs)) return known.config;
  const { value, needs } = context.trackNeeds(() => canonicalItem(compileAnew(context, route)));
  // Not with references to what was refused: they hold for this apply only.
  if (needs !== undefined && context.has(needs)) compiled.set(route, { config: value, needs });
  return value;
}

function compileAnew(context: CompileContext, route: RouteResource): RouteConfig {
  const { spec } = route;
  const names = new Set<string>();
  const rules = (spec.rules ?? []).map((rule, i) => {
    const config = compileRule(context, route, rule, i);
    if (names.has(config.name)) {
      const path: IssuePath = ["spec", "rules", i, "name"];
      context.report(route, path, "duplicate_name", `Two rules are named ${config.name}.`, "give each its own name");
    }
    names.add(config.name);
    return config;
  });
  const tcp = spec.tcp === undefined ? {} : { tcp: compileTcp(context, route, spec.tcp) };
  const gateways = compileGatewayNames(context, route, spec);
  return { name: fullName(route), gateways, hosts: sortedSet(spec.hosts), rules, ...tcp };
}

/** Whether its listener and its filters fit is found out when all of them are known: see stream-routes.ts. */
function compileTcp(context: CompileContext, route: RouteResource, spec: TcpSpec): TcpConfig {
  const path: IssuePath = ["spec", "tcp"];
  return {
    listener: spec.listener,
    backends: compileBackends(context, route, spec.backends, path),
    filters: resolveFilters(context, route, spec.filters, path),
    idleMs: spec.idle,
  };
}

function resolveFilters(context: CompileContext, route: RouteResource, filters: readonly string[], path: IssuePath): string[] {
  const names = filters.map((each, i) => context.resolve(route, "Filter", each, [...path, "filters", i]));
  return names.filter((each) => each !== undefined);
}

function compileGatewayNames(context: CompileContext, route: RouteResource, spec: RouteSpec): string[] {
  const names = spec.gateways.map((each, i) => {
    const path: IssuePath = ["spec", "gateways", i];
    const name = context.resolve(route, "Gateway", each, path);
    if (name !== undefined && spec.tcp === undefined) needHttp(context, route, name, path);
    return name;
  });
  return sortedSet(names.filter((each) => each !== undefined));
}

/** Rules are about requests. */
function needHttp(context: CompileContext, route: RouteResource, name: ResourceName, path: IssuePath): void {
  const gateway = context.find("Gateway", name);
  context.need(`Gateway ${name}#http`);
  if (gateway === undefined || servesHttp(gateway) || !context.isWhole(gateway, ["spec", "listeners"])) return;
  const message = `No listener of Gateway ${name} serves requests: its protocols are TCP or TLS.`;
  context.report(route, path, "conflicting_fields", message, "a route with tcp serves them");
}

function compileRule(context: CompileContext, route: RouteResource, rule: RuleSpec, index: number): RuleConfig {
  const path: IssuePath = ["spec", "rules", index];
  const matches = rule.matches.map(compileMatch);
  return {
    name: rule.name ?? String(context.positionOf(route, path)),
    matches,
    action: compileAction(context, route, rule, matches, path),
    filters: resolveFilters(context, route, rule.filters, path),
    authentication:
      rule.authentication === undefined
        ? undefined
        : context.resolve(route, "Authentication", rule.authentication, [...path, "authentication"]),
    requestHeaders: rule.requestHeaders,
    responseHeaders: rule.responseHeaders,
    timeoutMs: rule.timeout,
    maxBodyBytes: rule.maxBody,
  };
}

function compileMatch(spec: MatchSpec): MatchConfig {
  return canonicalItem({
    path: compilePathMatch(spec.path),
    methods: sortedSet(spec.methods),
    headers: spec.headers.map(compileValueMatch).sort(compareValueMatch),
    query: spec.query.map(compileValueMatch).sort(compareValueMatch),
  });
}

function compilePathMatch({ exact, prefix, template, regex }: MatchSpec["path"]): PathMatchConfig {
  if (exact !== undefined) return { kind: "exact", value: exact };
  if (template !== undefined) return { kind: "template", value: template };
  if (regex !== undefined) return { kind: "regex", value: regex };
  return { kind: "prefix", value: prefix ?? "/" };
}

function compileValueMatch({ name, exact, regex, absent }: MatchSpec["headers"][number]): ValueMatchConfig {
  if (exact !== undefined) return { name, kind: "exact", value: exact };
  if (regex !== undefined) return { name, kind: "regex", value: regex };
  return { name, kind: absent === true ? "absent" : "present" };
}

const compareValueMatch = (a: ValueMatchConfig, b: ValueMatchConfig): number =>
  compareText(JSON.stringify(Object.values(a)), JSON.stringify(Object.values(b)));

function compileAction(
  context: CompileContext,
  route: RouteResource,
  rule: RuleSpec,
  matches: readonly MatchConfig[],
  path: IssuePath,
): ActionConfig {
  const rewritePath = (spec: PathSpec | undefined, at: IssuePath) => compilePathRewrite(context, route, spec, matches, at);
  if (rule.redirect !== undefined) {
    const { status, scheme, host, port, stripQuery } = rule.redirect;
    if (scheme === undefined && host === undefined && port === undefined && rule.redirect.path === undefined) {
      const message = "The redirect leads to where it came from.";
      context.report(route, [...path, "redirect"], "conflicting_fields", message, "give scheme, host, port or path");
    }
    return {
      kind: "redirect",
      status,
      scheme,
      host,
      port,
      path: rewritePath(rule.redirect.path, [...path, "redirect", "path"]),
      stripQuery,
    };
  }
  if (rule.respond !== undefined) return compileRespond(context, route, rule.respond, [...path, "respond"]);
  if (rule.maintenance !== undefined) {
    const { retryAfter, body } = rule.maintenance;
    return { kind: "maintenance", retryAfterSeconds: retryAfter === undefined ? undefined : Math.ceil(retryAfter / 1000), body };
  }
  const rewrite = rule.rewrite && {
    host: rule.rewrite.host,
    path: rewritePath(rule.rewrite.path, [...path, "rewrite", "path"]),
  };
  const backends = compileBackends(context, route, rule.backends ?? [], path);
  const upgrades = rule.upgrades ?? ["websocket"];
  return { kind: "forward", backends, rewrite, upgrades, ...(rule.upgradeRequired === true ? { upgradeRequired: true } : {}) };
}

function compileRespond(
  context: CompileContext,
  route: RouteResource,
  spec: NonNullable<RuleSpec["respond"]>,
  path: IssuePath,
): ActionConfig {
  const { status, headers, body } = spec;
  if (body !== "" && (status === 204 || status === 205 || status === 304)) {
    context.report(route, [...path, "body"], "conflicting_fields", `An answer of status ${status} has no body (RFC 9110).`);
  }
  const typed = body === "" || headers.some(([name]) => name === "content-type");
  const all: (readonly [string, string])[] = typed ? [...headers] : [...headers, ["content-type", "text/plain; charset=utf-8"]];
  return { kind: "respond", status, headers: all.sort(([a], [b]) => compareText(a, b)), body };
}

type PathSpec = NonNullable<NonNullable<RuleSpec["rewrite"]>["path"]>;

/** A rewrite takes something from the match, so every match of the rule must have it. */
function compilePathRewrite(
  context: CompileContext,
  route: RouteResource,
  spec: PathSpec | undefined,
  matches: readonly MatchConfig[],
  path: IssuePath,
): PathRewriteConfig | undefined {
  if (spec === undefined) return undefined;
  if (spec.prefix !== undefined) {
    if (matches.some((match) => match.path.kind !== "prefix")) {
      context.report(route, [...path, "prefix"], "conflicting_fields", "Every match of the rule must be by prefix.");
    }
    return { kind: "prefix", value: spec.prefix };
  }
  if (spec.template !== undefined) {
    for (const name of variablesOf(spec.template)) {
      const has = (match: MatchConfig) => match.path.kind === "template" && variablesOf(match.path.value).includes(name);
      if (matches.every(has)) continue;
      context.report(
        route,
        [...path, "template"],
        "conflicting_fields",
        `Not every match of the rule has the variable {${name}}.`,
      );
    }
    return { kind: "template", value: spec.template };
  }
  return { kind: "full", value: spec.full ?? "/" };
}

function compileBackends(
  context: CompileContext,
  route: RouteResource,
  backends: NonNullable<RuleSpec["backends"]>,
  path: IssuePath,
): BackendConfig[] {
  const seen = new Set<string>();
  return backends.flatMap((backend, i) => {
    const at: IssuePath = [...path, "backends", i];
    const service = context.resolve(route, "Service", backend.service, [...at, "service"]);
    if (service === undefined) return [];
    const { subset } = backend;
    const key = `${service}/${subset ?? ""}`;
    if (seen.has(key))
      context.report(route, at, "duplicate_name", `The backend ${backend.service} is there twice.`, "use weight");
    seen.add(key);
    const target = context.find("Service", service);
    if (subset !== undefined) context.need(`Service ${service}#${subset}`);
    const subsets = target?.spec.subsets ?? [];
    const isKnown = target !== undefined && context.isWhole(target, ["spec", "subsets"]);
    if (subset !== undefined && isKnown && !subsets.some((each) => each.name === subset)) {
      const known = subsets.map((each) => each.name).join(", ");
      const hint = known === "" ? "it has no subsets" : `it has ${known}`;
      context.report(route, [...at, "subset"], "dangling_reference", `Service ${service} has no subset ${subset}.`, hint);
    }
    return [{ service, subset, weight: backend.weight }];
  });
}
