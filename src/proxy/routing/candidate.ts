import type { MatchConfig, PathMatchConfig, RouteConfig, RuleConfig, ValueMatchConfig } from "../../config/snapshot.ts";
import { utf8Bytes } from "../../core/bytes.ts";
import { isSameData } from "../../core/equal.ts";
import { Failure } from "../../core/failure.ts";
import { renormalisePath } from "../codec/path.ts";
import { ValueCondition } from "./condition.ts";
import { compilePattern, type Pattern } from "./pattern.ts";
import type { RouteMatch } from "./router.ts";
import { parseTemplate, type Template } from "./template.ts";

/** One match of one rule, ready to be tested. Shared by all hosts of its route. */
export interface Candidate {
  readonly kind: PathMatchConfig["kind"];
  /** The path as requests spell it; for prefixes without the slash at the end ("" matches everything). */
  readonly path: string;
  readonly template: Template | undefined;
  readonly pattern: Pattern | undefined;
  /** Nothing but the path is asked. */
  readonly plain: boolean;
  readonly methods: readonly string[];
  readonly headers: readonly ValueCondition[];
  readonly query: readonly ValueCondition[];
  /** What a match without variables answers: one object for the life of the router. */
  readonly result: RouteMatch;
  readonly config: MatchConfig;
  /** Position of the match within its route, over all rules. */
  readonly order: number;
}

/** A route with its candidates. */
export interface CompiledRoute {
  readonly config: RouteConfig;
  readonly candidates: readonly Candidate[];
}

/** Does one ask the same of requests as the other, so that they differ only in what is done then? Both are the same route. */
export function asksTheSame(one: CompiledRoute, other: CompiledRoute): boolean {
  return (
    one.candidates.length === other.candidates.length &&
    isSameData(one.config.hosts, other.config.hosts) &&
    isSameData(one.config.gateways, other.config.gateways) &&
    one.candidates.every((candidate, i) => isSameData(candidate.config, other.candidates[i]?.config))
  );
}

/** Do requests to this gateway see the route? */
export const belongsTo = (route: CompiledRoute, gateway: string): boolean =>
  route.config.gateways.length === 0 || route.config.gateways.includes(gateway);

/**
 * Throws an `Error` naming the route and what cannot be compiled. `former`: the same route as it was; a match that says the same and
 * stands at the same place is not compiled again.
 */
export function compileRoute(config: RouteConfig, former?: CompiledRoute): CompiledRoute {
  const candidates: Candidate[] = [];
  for (const rule of config.rules) {
    const address = `Route ${config.name} rule ${rule.name}`;
    for (const match of rule.matches) {
      const known = former?.candidates[candidates.length];
      if (known !== undefined && isSameData(known.config, match)) {
        const { matchedPrefix, variables } = known.result;
        candidates.push({ ...known, config: match, result: { route: config, rule, address, matchedPrefix, variables } });
        continue;
      }
      try {
        candidates.push(compileMatch(config, rule, match, address, candidates.length));
      } catch (cause) {
        throw new Error(`${address}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
      }
    }
  }
  return { config, candidates };
}

function compileMatch(route: RouteConfig, rule: RuleConfig, config: MatchConfig, address: string, order: number): Candidate {
  const { kind, value } = config.path;
  let path = kind === "exact" || kind === "prefix" ? wirePath(value) : value;
  if (kind === "prefix") path = withoutEndSlashes(path);
  return {
    kind,
    path,
    template: kind === "template" ? parseTemplate(wireTemplate(value)) : undefined,
    pattern: kind === "regex" ? compilePattern(value) : undefined,
    plain: config.methods.length + config.headers.length + config.query.length === 0,
    methods: config.methods,
    headers: config.headers.map((each) => new ValueCondition(each, true)),
    query: config.query.map((each) => new ValueCondition(each, false)),
    result: { route, rule, address, matchedPrefix: kind === "prefix" ? (path === "" ? "/" : path) : "", variables: [] },
    config,
    order,
  };
}

function withoutEndSlashes(path: string): string {
  let end = path.length;
  while (end > 0 && path.charCodeAt(end - 1) === 0x2f) end--;
  return path.slice(0, end);
}

const KEEP_ALL = { encodedSlash: "keep", doubleSlash: "keep", semicolon: "keep" } as const;

/** A configured path as the codec spells it in requests: percent-encoding of the same characters, in the same case. */
function wirePath(path: string): string {
  let encoded = "";
  for (const byte of utf8Bytes(path)) {
    encoded += byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  const normal = renormalisePath(encoded, KEEP_ALL);
  // `*` (OPTIONS) and whatever else is no path stays as it is and matches literally.
  return normal instanceof Failure ? path : normal.path;
}

/** The literal segments of a template, spelled likewise. */
function wireTemplate(text: string): string {
  return text
    .split("/")
    .map((segment) => (segment === "" || segment.includes("{") ? segment : wirePath(`/${segment}`).slice(1)))
    .join("/");
}

/**
 * Between matches of the same path value on the same host: a method before none, then more header matches, then more query
 * matches, then the route's name, then the order in the route (Gateway API, HTTPRouteRule.matches). Negative: `a` goes first.
 */
export function compareConditions(a: Candidate, b: Candidate): number {
  const byMethod = Number(b.methods.length > 0) - Number(a.methods.length > 0);
  if (byMethod !== 0) return byMethod;
  if (a.headers.length !== b.headers.length) return b.headers.length - a.headers.length;
  if (a.query.length !== b.query.length) return b.query.length - a.query.length;
  const [left, right] = [a.result.route.name, b.result.route.name];
  if (left !== right) return left < right ? -1 : 1;
  return a.order - b.order;
}

/** A candidate in words, for `routes why`. */
export function describeMatch(config: MatchConfig): string {
  const values = (what: string, each: ValueMatchConfig): string =>
    each.kind === "present" || each.kind === "absent"
      ? `${what} ${each.name} ${each.kind}`
      : `${what} ${each.name} ${each.kind === "exact" ? "=" : "~"} ${each.value}`;
  const parts = [`${config.path.kind} ${config.path.value}`];
  if (config.methods.length > 0) parts.push(config.methods.join("|"));
  parts.push(...config.headers.map((each) => values("header", each)), ...config.query.map((each) => values("query", each)));
  return parts.join(", ");
}
