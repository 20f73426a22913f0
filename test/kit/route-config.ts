import type { ActionConfig, MatchConfig, PathMatchConfig, RouteConfig, RuleConfig } from "../../src/config/snapshot.ts";
import { HeaderBlock, type RequestHead } from "../../src/core/head.ts";
import { ruleOf } from "./snapshot.ts";

/** Small makers of routes and request heads (listeners: `listenerOf` of snapshot.ts), with everything that a test does not care about filled in. */
export const makeMatch = (path: PathMatchConfig, rest: Partial<MatchConfig> = {}): MatchConfig => ({
  path,
  methods: [],
  headers: [],
  query: [],
  ...rest,
});

export const FORWARD: ActionConfig = {
  kind: "forward",
  backends: [{ service: "default/echo", subset: undefined, weight: 1 }],
  rewrite: undefined,
  upgrades: [],
};

export const makeRule = (name: string, matches: readonly MatchConfig[], rest: Partial<RuleConfig> = {}): RuleConfig =>
  ruleOf({ name, matches, action: FORWARD, ...rest });

/** A route in which each match is a rule of its own, named `0`, `1`, … */
export const makeRoute = (
  name: string,
  hosts: readonly string[],
  matches: readonly MatchConfig[],
  rest: Partial<RouteConfig> = {},
): RouteConfig => ({
  name,
  gateways: [],
  hosts,
  rules: matches.map((match, i) => makeRule(String(i), [match])),
  ...rest,
});

export const makeHead = (authority: string, path: string, rest: Partial<RequestHead> = {}): RequestHead => ({
  method: "GET",
  scheme: "http",
  authority,
  path,
  query: undefined,
  version: 11,
  upgrade: undefined,
  headers: new HeaderBlock(),
  ...rest,
});
