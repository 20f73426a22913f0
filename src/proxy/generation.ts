import type { ListenerConfig, RuleConfig, Snapshot, TcpConfig } from "../config/snapshot.ts";
import type { RequestHead } from "../core/head.ts";
import type { FilterModule } from "../filters/contract.ts";
import type { JwtOutcome } from "../filters/jwt/authenticator.ts";
import type { ForwardingPolicy } from "./forwarding.ts";
import type { Router } from "./routing/router.ts";
import type { StreamRoutes } from "./tcp/routes.ts";
import type { UpstreamService } from "./upstream/service.ts";

/**
 * The running objects built from one snapshot. Never mutated: a new one is built beside it (src/app/generation.ts) and takes
 * its place by one assignment. An exchange keeps the generation it began with.
 */
export interface Generation {
  readonly snapshot: Snapshot;
  readonly router: Router;
  readonly streams: StreamRoutes;
  readonly services: ReadonlyMap<string, UpstreamService>;
  readonly rules: RuleRuntimes;
  /** Modules that rules may name. */
  readonly filters: readonly FilterModule[];
  /** By listener name. */
  readonly listeners: ReadonlyMap<string, ListenerRuntime>;
}

/** By rule; every rule of the router, and what every route of streams says, is in it. The request path does one look-up and no resolving. */
export interface RuleRuntimes {
  get(rule: RuleConfig | TcpConfig): RuleRuntime | undefined;
}

/** What a rule needs at run time, resolved once. */
export interface RuleRuntime {
  readonly filters: readonly FilterModule[];
  readonly authenticator: Authenticator | undefined;
}

export interface ListenerRuntime {
  readonly config: ListenerConfig;
  readonly forwarding: ForwardingPolicy;
}

/** Says who sends a request, before any filter runs; a promise only when keys must be fetched or a signature is new. Implemented by filters/jwt. */
export interface Authenticator {
  verify(head: RequestHead): JwtOutcome | Promise<JwtOutcome>;
}
