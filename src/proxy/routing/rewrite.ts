import type { ActionConfig, PathPolicyConfig, PathRewriteConfig, RewriteConfig } from "../../config/snapshot.ts";
import { Failure } from "../../core/failure.ts";
import { hostOf, type RequestHead, targetOf } from "../../core/head.ts";
import { METHOD } from "../codec/chars.ts";
import { normaliseAuthority } from "../codec/host.ts";
import { renormalisePath } from "../codec/path.ts";
import type { RouteMatch } from "./router.ts";
import { fillTemplate } from "./template.ts";

/**
 * Changes authority and path of `head` in place; the query stays. The new path is normalised again, so that filters and upstream
 * see what policy would have seen (CVE-2026-48020). A failure (`bad_path`): the result would not be a legal path; `head` is then as before.
 */
export function applyRewrite(
  rewrite: RewriteConfig,
  match: RouteMatch,
  head: RequestHead,
  policy: PathPolicyConfig,
): Failure | undefined {
  // `*` (OPTIONS) and "" (CONNECT) are no paths.
  if (rewrite.path !== undefined && head.path.charCodeAt(0) === 0x2f) {
    const normal = renormalisePath(rewritePath(rewrite.path, match, head.path), policy);
    if (normal instanceof Failure) return normal;
    if (normal.query !== undefined) return new Failure("bad_path", "a path rewrite made a query");
    head.path = normal.path;
  }
  if (rewrite.host !== undefined) head.authority = rewrite.host;
  return undefined;
}

/** The path that a rewrite makes of `path`; not normalised. */
export function rewritePath(rewrite: PathRewriteConfig, match: RouteMatch, path: string): string {
  if (rewrite.kind === "full") return rewrite.value;
  if (rewrite.kind === "template") return fillTemplate(rewrite.value, match.variables);
  // A rule may have matches of several kinds: one that matched no prefix has none to replace.
  if (match.matchedPrefix === "") return path;
  const prefix = withoutEndSlash(match.matchedPrefix);
  return withoutEndSlash(rewrite.value) + path.slice(prefix.length) || "/";
}

function withoutEndSlash(path: string): string {
  let end = path.length;
  while (end > 0 && path.charCodeAt(end - 1) === 0x2f) end--;
  return path.slice(0, end);
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { http: 80, https: 443 };

/**
 * The `location` of a redirect: always absolute (Gateway API, HTTPRequestRedirectFilter). Without a port of its own it takes the
 * well-known one of the new scheme, or, when the scheme stays, the listener's. `listenerPort`: 0 for Unix sockets (no port then).
 */
export function redirectLocation(
  action: Extract<ActionConfig, { kind: "redirect" }>,
  match: RouteMatch,
  head: RequestHead,
  listenerPort: number,
): string {
  const scheme = action.scheme ?? head.scheme;
  const host = action.host ?? hostOf(head.authority);
  const port = action.port ?? (action.scheme === undefined ? listenerPort : (DEFAULT_PORTS[scheme] ?? listenerPort));
  const shownPort = port === 0 || port === DEFAULT_PORTS[scheme] ? "" : `:${port}`;
  const path = redirectPath(action.path, match, head.path);
  const query = action.stripQuery || head.query === undefined ? "" : `?${head.query}`;
  return `${scheme}://${host}${shownPort}${path}${query}`;
}

function redirectPath(rewrite: PathRewriteConfig | undefined, match: RouteMatch, path: string): string {
  if (path.charCodeAt(0) !== 0x2f) return "/";
  return rewrite === undefined ? path : rewritePath(rewrite, match, path);
}

/**
 * Method, authority, path and query as a filter left them, checked and normalised as a caller's are: routing saw the former ones, the
 * upstream sees these. A failure: they are illegal.
 */
export function renormaliseTarget(head: RequestHead, policy: PathPolicyConfig): Failure | undefined {
  for (let i = 0; i < head.method.length; i++)
    if (METHOD[head.method.charCodeAt(i)] !== 1) return new Failure("bad_request_line", "a byte that no method may have");
  const target = renormalisePath(targetOf(head), policy);
  if (target instanceof Failure) return target;
  // Who named no host (HTTP/1.0) still names none.
  const authority = head.authority === "" ? "" : normaliseAuthority(head.authority, head.scheme);
  if (authority instanceof Failure) return authority;
  head.authority = authority;
  head.path = target.path;
  head.query = target.query;
  return undefined;
}
