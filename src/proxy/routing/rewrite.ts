import type { ActionConfig, PathPolicyConfig, RewriteConfig } from "../../config/snapshot.ts";
import type { Failure } from "../../core/failure.ts";
import type { RequestHead } from "../../core/head.ts";
import type { RouteMatch } from "./router.ts";

/** Changes authority and path of `head` in place; the new path is normalised again. A failure: the result would not be a legal path. */
export function applyRewrite(
  _rewrite: RewriteConfig,
  _match: RouteMatch,
  _head: RequestHead,
  _policy: PathPolicyConfig,
): Failure | undefined {
  throw new Error("not yet");
}

/** The `location` of a redirect (Gateway API, HTTPRequestRedirectFilter). `listenerPort`: of the listener the request came in by; 0 for Unix sockets. */
export function redirectLocation(
  _action: Extract<ActionConfig, { kind: "redirect" }>,
  _match: RouteMatch,
  _head: RequestHead,
  _listenerPort: number,
): string {
  throw new Error("not yet");
}
