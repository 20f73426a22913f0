import type { DnsConfig, EndpointConfig } from "../../config/snapshot.ts";
import type { Clock } from "../../core/clock.ts";
import type { Log } from "../../core/log.ts";
import type { Rng } from "../../core/rng.ts";

export interface DnsEnvironment {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly log: Log;
}

/**
 * Resolves a service's name now and again when the answer's TTL ends. `onEndpoints` gets each new set (never an equal one twice
 * in a row, never in this call); a refresh that fails keeps the last good one.
 */
export function watchDns(
  _config: DnsConfig,
  _onEndpoints: (endpoints: readonly EndpointConfig[]) => void,
  _environment: DnsEnvironment,
): { stop(): void } {
  throw new Error("not yet");
}
