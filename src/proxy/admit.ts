import { Failure } from "../core/failure.ts";
import { hostOf, type RequestHead } from "../core/head.ts";
import type { JwtOutcome } from "../filters/jwt/authenticator.ts";
import type { ListenerRuntime } from "./generation.ts";
import type { ConnectionInfo } from "./stream.ts";

/** Refusals that need nothing but the head and its connection; undefined: come in. */
export function refuseAtDoor(request: RequestHead, connection: ConnectionInfo, listener: ListenerRuntime): Failure | undefined {
  if (request.method === "CONNECT") return new Failure("connect_refused");
  if (isMisdirected(request, connection, listener)) {
    return new Failure("misdirected", "SNI and Host differ on a listener with client certificates");
  }
  return undefined;
}

/** A certificate shown for one host must not open another (security class 38). */
function isMisdirected(request: RequestHead, { tls }: ConnectionInfo, listener: ListenerRuntime): boolean {
  const config = listener.config.tls;
  if (tls === undefined || config === undefined || config.clientAuth === "none") return false;
  return tls.serverName !== hostOf(request.authority);
}

/** What a refused token means to the caller. */
export function refuseToken(outcome: Extract<JwtOutcome, { kind: "denied" }>): Failure {
  if (outcome.status === 403) return new Failure("forbidden", outcome.reason);
  return new Failure(outcome.status === 503 ? "overloaded" : "unauthenticated", outcome.reason);
}
