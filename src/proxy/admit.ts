import type { ListenerTlsConfig } from "../config/snapshot.ts";
import { Failure } from "../core/failure.ts";
import { hostOf, type RequestHead } from "../core/head.ts";
import type { JwtOutcome } from "../filters/jwt/authenticator.ts";
import type { Generation, ListenerRuntime } from "./generation.ts";
import type { ConnectionInfo } from "./stream.ts";

/** Refusals that need nothing but the head and its connection; undefined: come in. */
export function refuseAtDoor(request: RequestHead, connection: ConnectionInfo, listener: ListenerRuntime): Failure | undefined {
  const { method } = request;
  if (method === "CONNECT") return new Failure("connect_refused");
  // They echo what credentials and internal headers a request has (RFC 9110 §9.3.8). The codec knows upper case only.
  if ((method === "TRACE" || method === "TRACK") && !listener.config.allowTrace) return new Failure("method_not_allowed", method);
  return listener.config.tls === undefined ? undefined : refuseMisdirected(request, connection, listener.config.tls);
}

function refuseMisdirected(request: RequestHead, connection: ConnectionInfo, config: ListenerTlsConfig): Failure | undefined {
  if (config.clientAuth === "none") return undefined;
  // A certificate shown for one host must not open another (security class 38).
  if (connection.tls?.serverName !== hostOf(request.authority)) {
    return new Failure("misdirected", "SNI and Host differ on a listener with client certificates");
  }
  const why = refusePeer(connection, config);
  return why === undefined ? undefined : new Failure("misdirected", why);
}

/** Why a connection that is older than its listener's configuration must be made anew: a new one brings a certificate that holds (security class 37). */
export function refusePeer({ tls, distrusted }: ConnectionInfo, config: ListenerTlsConfig | undefined): string | undefined {
  if (config === undefined || config.clientAuth === "none") return undefined;
  if (config.clientAuth === "required" && tls?.peer === undefined) return "no client certificate";
  return distrusted ? "the authority of its client certificate is not trusted any more" : undefined;
}

/** Whether `generation` would open a tunnel that is open already. */
export function refuseTunnel(
  asked: RequestHead,
  connection: ConnectionInfo,
  listenerName: string,
  { listeners, router }: Generation,
): Failure | undefined {
  const listener = listeners.get(listenerName);
  const refused = listener === undefined ? undefined : refuseAtDoor(asked, connection, listener);
  if (refused !== undefined) return refused;
  const action = router.match(listenerName, asked)?.rule.action;
  const allowed = action?.kind === "forward" && action.upgrades.includes(asked.upgrade ?? "");
  return allowed ? undefined : new Failure("no_route", "the route of this tunnel is gone");
}

/** What a refused token means to the caller. */
export function refuseToken(outcome: Extract<JwtOutcome, { kind: "denied" }>): Failure {
  if (outcome.status === 403) return new Failure("forbidden", outcome.reason);
  return new Failure(outcome.status === 503 ? "overloaded" : "unauthenticated", outcome.reason);
}
