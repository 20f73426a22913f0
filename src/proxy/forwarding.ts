import type { ForwardingConfig, TracingConfig } from "../config/snapshot.ts";
import type { CidrSet } from "../core/cidr.ts";
import type { RequestHead } from "../core/head.ts";
import type { IdSource, Rng } from "../core/rng.ts";
import type { ConnectionInfo } from "./stream.ts";

/** What the proxy knows about a request once its forwarding headers are read; one object per exchange, written in place. */
export class ForwardingResult {
  /** The caller's address behind the trusted hops. */
  clientAddress = "";
  requestId = "";
  /** 32 hex digits; "" when there is no trace. */
  traceId = "";
  sampled = false;
}

/** A listener's forwarding rules, ready for use. Built once per generation. */
export interface ForwardingPolicy {
  readonly config: ForwardingConfig;
  readonly trusted: CidrSet;
  readonly tracing: TracingConfig;
}

export function compileForwarding(
  _config: ForwardingConfig,
  _trustedProxies: readonly string[],
  _tracing: TracingConfig,
): ForwardingPolicy {
  throw new Error("not yet");
}

/** Where ids and chance come from. */
export interface ForwardingSources {
  readonly ids: IdSource;
  readonly rng: Rng;
}

/** Reads and replaces the forwarding, request id, trace and mesh-internal headers of `head`, in place, and fills `result`. */
export function applyForwarding(
  _policy: ForwardingPolicy,
  _connection: ConnectionInfo,
  _head: RequestHead,
  _sources: ForwardingSources,
  _result: ForwardingResult,
): void {
  throw new Error("not yet");
}
